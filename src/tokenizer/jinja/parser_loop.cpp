// The parser's loops: {% for %} with its filter, else and recursion, {% break %} and {% continue %}.
#include <fmt/format.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "tokenizer/jinja/parser.h"

namespace dunlin::jinja {
namespace {

struct Loop {
  Target target;
  Expression iterable;
  Expression condition;  // the filter after `if`, or none
  Block body;
  std::shared_ptr<const Block> otherwise;  // else, or nullptr
  bool recursive = false;

  std::vector<Value> items(const Value& over, Frame& frame) const {
    std::vector<Value> all = iterate(over, frame.runtime);
    if (!condition) return all;
    std::vector<Value> kept;
    for (Value& item : all) {
      const ScopeChange inner(frame);
      target(frame, item);
      if (condition(frame).truthy()) kept.push_back(std::move(item));
    }
    return kept;
  }

  // What loop(items) does in the body: the loop once more, in the scope around it, as text.
  std::function<Value(const Value&, Frame&)> recursion(const Frame& around, int depth) const {
    return [this, depth, scope = std::weak_ptr(around.scope)](const Value& over, Frame& frame) {
      const auto outer = scope.lock();
      if (!outer) throw TemplateError("a loop is called after the block around it has ended");
      const ScopeChange change(frame, outer);
      return frame.runtime.string(capture(frame, [&] { run_over(over, frame, depth + 1); }));
    };
  }

  Flow run_over(const Value& over, Frame& frame, int depth) const {
    auto* loop = frame.runtime.object<LoopObject>();
    loop->items = items(over, frame);
    loop->depth = depth;
    if (recursive) loop->recurse = recursion(frame, depth);
    bool completed = false;  // Jinja2 runs else unless an iteration reached the end of the body
    for (; loop->index < loop->items.size(); ++loop->index) {
      frame.runtime.step();
      const ScopeChange inner(frame);
      frame.scope->set("loop", Value(loop));
      target(frame, loop->items[loop->index]);
      const Flow flow = run(body, frame);
      if (flow == Flow::break_loop) break;
      completed |= flow == Flow::normal;
    }
    loop->items = {};
    loop->seen.reset();
    if (completed || !otherwise) return Flow::normal;
    const ScopeChange inner(frame);
    return run(*otherwise, frame);
  }
};

}  // namespace

Parser::Run Parser::parse_for() {
  take();
  auto loop = std::make_shared<Loop>();
  loop->target = parse_target(false);
  expect("in");
  loop->iterable = parse_tuple(false, "recursive");
  if (skip("if")) loop->condition = parse_expression();
  loop->recursive = skip("recursive");
  ++loop_level_;
  loop->body = parse_body({"else", "endfor"});
  --loop_level_;
  if (take().text == "else") loop->otherwise = parse_last_body("endfor");
  return [loop](Frame& frame) { return loop->run_over(loop->iterable(frame), frame, 0); };
}

Parser::Run Parser::parse_loop_control() {
  if (loop_level_ == 0) fail(fmt::format("'{}' outside a loop", current().text));
  const Flow flow = take().text == "break" ? Flow::break_loop : Flow::continue_loop;
  return [flow](Frame&) { return flow; };
}

}  // namespace dunlin::jinja
