// Hostile templates and inputs end in an error, quickly and in bounded memory.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "tokenizer/jinja/chat_inputs.h"
#include "tokenizer/jinja/chat_template.h"

namespace dunlin {
namespace {

std::string repeat(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

// The error of parsing or rendering, or "" when there is none.
std::string error_of(const std::string& source, const ChatInputs& inputs = {}) {
  const auto parsed = ChatTemplate::parse(source, "test");
  if (!parsed.ok()) return parsed.error().message;
  const auto rendered = parsed->render(inputs);
  return rendered.ok() ? "" : rendered.error().message;
}

// Without limits these templates would run for hours, which the time limit of the whole test tells.
void expect_error(const std::string& source, const std::string& part,
                  const ChatInputs& inputs = {}) {
  const std::string error = error_of(source, inputs);
  EXPECT_NE(error.find(part), std::string::npos) << source.substr(0, 200) << ": '" << error << "'";
}

TEST(Limits, NestedLoopsRunOutOfSteps) {
  expect_error("{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
               "than");
  expect_error("{% for a in range(2000) %}{% for b in range(2000) %}{% endfor %}{% endfor %}",
               "than");
}

TEST(Limits, StepsAreBounded) {
  const std::string sums = "{% set y = 1" + repeat(" + 1", 200) + " %}";
  expect_error("{% for a in range(9999) %}" + sums + "{% endfor %}", "1000000 steps");
}

TEST(Limits, RangeIsBounded) {
  expect_error("{{ range(1000000000) | list }}", "100000 items");
  expect_error("{{ range(-9223372036854775807, 9223372036854775807) }}", "100000 items");
  EXPECT_EQ(error_of("{{ range(0, 9223372036854775807, 4611686018427387904) | list }}"), "");
}

TEST(Limits, StringsAreBounded) {
  expect_error("{{ 'x' * 1000000000 }}", "too large");
  expect_error("{{ 'x' * 10000000 }}", "8 MiB");
  expect_error("{{ '' * 9223372036854775807 ~ 'x' * 9223372036854775807 }}", "too large");
  expect_error(
      "{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s "
      "%}{% endfor %}",
      "8 MiB");
  expect_error("{% set s = 'x' * 8000000 %}{{ s }}{{ s }}", "8 MiB");
  expect_error("{% set s = 'x' * 8000000 %}{{ s | replace('', s) }}", "MiB");
  expect_error("{{ ('x' * 8000000) | list | length }}", "64 MiB");
  expect_error("{{ '%99999999d' % 1 }}", "10000");
  expect_error("{{ 'a' | indent(999999999999) }}", "too large");
  expect_error("{{ [1] | tojson(indent=100000) }}", "1000");
}

TEST(Limits, ListsAreBounded) {
  expect_error("{{ [1] * 1000000000 }}", "too large");
  expect_error(
      "{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% "
      "endfor %}",
      "64 MiB");
}

// Work that makes nothing is bounded too: the same 8 MB searched, compared and sorted again and
// again.
TEST(Limits, ScansAreBounded) {
  const std::string big = "{% set s = 'a' * 8000000 %}";
  expect_error(big + "{% for i in range(10000) %}{% if 'b' in s %}{% endif %}{% endfor %}",
               "64 MiB");
  expect_error(big + "{% set t = s + '' %}{% for i in range(10000) %}{{ s == t }}{% endfor %}",
               "64 MiB");
  expect_error(big + "{{ ([s, s + ''] * 50000) | sort | length }}", "64 MiB");
  expect_error(big +
                   "{% set half = 'a' * 4000000 + 'b' %}{% for i in range(10000) %}{{ s.find(half) "
                   "}}{% endfor %}",
               "64 MiB");
}

// Every argument that is looked at is paid for, not only the text a method belongs to.
TEST(Limits, LargeArgumentsAreBounded) {
  const std::string big = "{% set s = 'a' * 4000000 %}{% set t = s + '' %}";
  const auto in_loop = [&](const std::string& expression) {
    return big + "{% for i in range(99999) %}{% set x = " + expression + " %}{% endfor %}";
  };
  expect_error(in_loop("''.strip(s)"), "64 MiB");
  expect_error(in_loop("'' | trim(s)"), "64 MiB");
  expect_error(in_loop("'a'.rsplit(s)"), "64 MiB");
  expect_error(in_loop("{s: 1}[t]"), "64 MiB");
  expect_error(in_loop("s is sameas t"), "64 MiB");
  expect_error(in_loop("[{}] | map(attribute=s) | list"), "64 MiB");
  expect_error(big + "{{ s.startswith(([t] * 99999) | list) }}", "must be a string");
  expect_error(big + "{% set l = (t + 'b',) * 99999 %}{{ (s + 'c').startswith(l) }}", "64 MiB");
  expect_error(
      "{% set f = '%%' * 300000 %}{% for i in range(999) %}{% set x = strftime_now(f) %}"
      "{% endfor %}",
      "than");
}

// A filter that calls a filter that calls a filter: 'a' has the item 'a', which has the item 'a' ...
TEST(Limits, BuiltinsThatCallBuiltinsAreBounded) {
  expect_error("{{ 'a' | map(*(['map'] * 100000)) | list }}", "than");
  expect_error("{{ 'a' | map(*(['map'] * 200)) | list }}", "built-ins nested deeper than 64");
}

TEST(Limits, ManyNamesAreNotSearchedOneByOne) {
  std::string source;
  for (int i = 0; i < 60'000; ++i) source += fmt::format("{{%set a{}=1%}}", i);
  expect_error(source +
                   "{% for i in range(99999) %}{{ x1 }}{{ x2 }}{{ x3 }}{{ x4 }}{% endfor %}"
                   "{% for i in range(99999) %}{{ x1 }}{{ x2 }}{{ x3 }}{{ x4 }}{% endfor %}",
               "steps");
  expect_error("{{ " + std::string(1001, 'a') + " }}", "longer than 1000");
  EXPECT_EQ(error_of("{{ " + std::string(1000, 'a') + " }}"), "");
}

TEST(Limits, ArgumentsAreBounded) {
  std::string keywords;
  std::string names;
  for (int i = 0; i < 50'000; ++i) {
    keywords += fmt::format("a{}=1,", i);
    names += fmt::format("{}a{}", i > 0 ? "," : "", i);
  }
  expect_error("{{ dict(" + keywords + ") }}", "more than 255 arguments");
  expect_error("{% macro m(" + names + ") %}{% endmacro %}", "more than 255 parameters");
  expect_error("{% macro m(a) %}{% endmacro %}{{ m(*range(99999)) }}", "not more than");
}

TEST(Limits, SharedValuesDoNotMultiply) {
  const std::string doubling =
      "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% "
      "endfor %}";
  expect_error(doubling + "{{ ns.l }}", "than");
  expect_error(doubling + "{{ ns.l | tojson }}", "than");
  expect_error(
      doubling +
          "{% set a = ns.l %}{{ a == [a[0], a[0]] and a == [a[1], [a[1][0], a[1][1] + []]] }}",
      "steps");
}

TEST(Limits, ValuesAreNotNestedWithoutBound) {
  expect_error(
      "{% set ns = namespace(l=[]) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% endfor %}",
      "nested deeper than 100");
  expect_error("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}",
               "nested deeper than 100");
  expect_error(
      "{% set ns = namespace(f='a'.upper) %}{% for i in range(9999) %}{% set ns.f = {'k': "
      "ns.f}.get %}{% endfor %}",
      "nested deeper than 100");
}

TEST(Limits, RecursionIsBounded) {
  expect_error("{% macro m(x) %}{{ m(x + 1) }}{% endmacro %}{{ m(0) }}",
               "calls nested deeper than 32");
  expect_error("{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
               "deeper than 32");
  expect_error("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "deeper than 32");
  EXPECT_EQ(
      error_of("{% macro m(n) %}{% if n %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(31) }}"), "");
}

TEST(Limits, NestingInTheSourceIsBounded) {
  expect_error("{{ " + repeat("(", 1000) + "1" + repeat(")", 1000) + " }}", "64");
  expect_error("{{ " + repeat("[", 100000) + repeat("]", 100000) + " }}", "64");
  expect_error("{{ " + repeat("{1:", 1000) + "1" + repeat("}", 1000) + " }}", "64");
  expect_error("{{ " + repeat("not ", 100000) + "1 }}", "64");
  expect_error("{{ " + repeat("-", 100000) + "1 }}", "64");
  expect_error("{{ " + repeat("f(", 1000) + repeat(")", 1000) + " }}", "64");
  expect_error("{{ x" + repeat("[0]", 1000) + " }}", "64");
  expect_error("{{ x" + repeat("|d", 1000) + " }}", "64");
  expect_error("{% filter upper" + repeat("|upper", 1000) + " %}{% endfilter %}", "64");
  expect_error("{% set x" + repeat("|upper", 1000) + " %}{% endset %}", "64");
  expect_error("{{ 2" + repeat(" ** (2", 1000) + repeat(")", 1000) + " }}", "64");
  expect_error("{{ x" + repeat(" is defined", 2) + " }}", "chained");
  expect_error("{{ 1" + repeat(" if 1 else 1", 1000) + " }}", "64");
  expect_error(repeat("{% if 1 %}", 1000), "64");
  expect_error(repeat("{% for x in y %}", 1000), "64");
  expect_error("{% for " + repeat("(", 1000) + "x" + repeat(")", 1000) + " in y %}{% endfor %}",
               "64");
}

// The deepest tree that the parser lets through: what it makes is evaluated and freed by recursion.
TEST(Limits, DeepestTreesAreFreed) {
  const std::string deep = repeat("(", 60) + "x" + repeat(repeat("|d", 60) + ")", 60);
  expect_error("{{ " + deep + " }}", "evaluation nested deeper than 600");
  expect_error("{{ " + deep, "the template ends");
}

TEST(Limits, LongFlatTemplatesAreFine) {
  EXPECT_EQ(error_of("{% set x = 1" + repeat(" + 1", 5000) + " %}{{ 'a'" + repeat(" ~ 'b'", 5000) +
                     " }}"),
            "");
  EXPECT_EQ(error_of("{% if 0 %}" + repeat("{% elif 0 %}", 5000) + "{% endif %}"), "");
  EXPECT_EQ(error_of(repeat("{{ 1 }}text{# c #}", 10000)), "");
  EXPECT_EQ(error_of("{% raw %}" + repeat("{%", 100000) + "{% endraw %}"), "");
}

TEST(Limits, TemplatesAreBounded) {
  expect_error(std::string((1 << 20) + 1, 'x'), "larger than 1 MiB");
  EXPECT_EQ(error_of(std::string(1 << 20, 'x')), "");
}

TEST(Limits, IntegersDoNotOverflow) {
  expect_error("{{ 9223372036854775807 + 1 }}", "64 bits");
  expect_error("{{ -9223372036854775807 - 2 }}", "64 bits");
  expect_error("{{ 4611686018427387904 * 2 }}", "64 bits");
  expect_error("{{ 10 ** 100 }}", "64 bits");
  expect_error("{{ 3 ** 9223372036854775807 }}", "64 bits");
  expect_error("{{ (-9223372036854775807 - 1) // -1 }}", "64 bits");
  expect_error("{{ -(-9223372036854775807 - 1) }}", "64 bits");
  expect_error("{{ 9223372036854775808 }}", "out of range");
  expect_error("{{ 1e30 | int }}", "64 bits");
  expect_error("{{ '9223372036854775808' | int }}", "64 bits");
  EXPECT_EQ(error_of("{{ (-9223372036854775807 - 1) % -1 }}{{ 1 ** 9223372036854775807 }}"), "");
}

TEST(Limits, PythonInternalsAreOutOfReach) {
  for (const char* source :
       {"{{ ''.__class__ }}", "{{ messages.__class__ }}", "{{ ''['__class__'] }}",
        "{{ range.__globals__ }}", "{{ 5.__class__ }}", "{{ raise_exception.__globals__ }}",
        "{% for x in [1] %}{{ loop.__init__ }}{% endfor %}", "{{ namespace().__dict__ }}",
        "{{ ['x'] | map(attribute='__class__') | list }}", "{{ {}.__class__ }}"}) {
    EXPECT_NE(error_of(source), "") << source;
  }
}

TEST(Limits, ManyMessagesAreFine) {
  ChatInputs inputs;
  for (int i = 0; i < 100'000; ++i)
    inputs.messages.value.push_back({{"role", "user"}, {"content", "hello"}});
  const auto parsed =
      ChatTemplate::parse("{% for m in messages %}{{ m.role ~ m.content }}{% endfor %}", "test");
  const auto rendered = parsed->render(inputs);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_EQ(join_spans(*rendered).size(), 900'000U);
}

TEST(Limits, DeepInputsAreRefused) {
  ChatInputs inputs;
  nlohmann::ordered_json deep = nlohmann::ordered_json::array();
  for (int i = 0; i < 10'000; ++i) deep = nlohmann::ordered_json::array({std::move(deep)});
  inputs.tools = std::move(deep);
  expect_error("{{ tools }}", "nested deeper than 100", inputs);
}

TEST(Limits, InputsThatJsonAllowsAreChecked) {
  ChatInputs inputs;
  inputs.tools = nlohmann::ordered_json::parse("[18446744073709551615]");
  expect_error("", "does not fit in 64 bits", inputs);
  inputs.tools = nullptr;
  inputs.variables = 5;
  expect_error("", "must be an object", inputs);
}

// Bytes that are not UTF-8 pass through unchanged and count as one character each.
TEST(Limits, InvalidUtf8IsKept) {
  ChatInputs inputs;
  inputs.messages.value = {{{"role", "user"}, {"content", "\xff\xc3(\xe2\x82"}}};
  const auto parsed = ChatTemplate::parse(
      "{{ messages[0].content | upper }}|{{ messages[0].content | length }}", "t");
  const auto rendered = parsed->render(inputs);
  ASSERT_TRUE(rendered.ok());
  EXPECT_EQ(join_spans(*rendered), "\xff\xc3(\xe2\x82|5");
}

// Half of a surrogate pair is no text that UTF-8 can hold.
TEST(Limits, LoneSurrogatesAreRefused) {
  expect_error(R"({{ '\ud800' }})", "test:1:4: a string holds an escape sequence");
  expect_error(R"({{ '\ud83d\ude00' }})", "escape sequence");
  expect_error(R"({{ '\U00110000' }})", "escape sequence");
  ChatInputs inputs;  // UTF-8's form of one is kept byte by byte, and escaped as Python does
  inputs.bos_token = "\xed\xa0\x80";
  const auto parsed = ChatTemplate::parse("{{ bos_token }}{{ bos_token | tojson }}", "t");
  const auto rendered = parsed->render(inputs);
  ASSERT_TRUE(rendered.ok()) << rendered.error().message;
  EXPECT_EQ(join_spans(*rendered).substr(0, 4), "\xed\xa0\x80\"");
}

TEST(Limits, MacrosOfBlocksThatEndedAreErrors) {
  expect_error(
      "{% set ns = namespace() %}{% for x in [1] %}{% macro m() %}{{ x }}{% endmacro %}{% set ns.m "
      "= m %}"
      "{% endfor %}{{ ns.m() }}",
      "after the block");
}

}  // namespace
}  // namespace dunlin
