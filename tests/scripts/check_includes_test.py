#!/usr/bin/env python3
"""What scripts/check-includes says of small trees.

    check_includes_test.py SCRIPT
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)


class CheckIncludesTest(unittest.TestCase):
    def check(self, files):
        """Exit code and lines of the script for a tree of these files."""
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            result = subprocess.run([sys.executable, SCRIPT, "--root", folder], capture_output=True, text=True)
        self.assertEqual(result.stderr, "")
        return result.returncode, result.stdout.splitlines()

    def expect_sound(self, files):
        self.assertEqual(self.check(files), (0, [f"{len(files)} files include what they use"]))

    def test_names_with_their_headers_are_sound(self):
        self.expect_sound({"src/base/a.cpp": "#include <cstdint>\n#include <vector>\nstd::vector<int8_t> a;\n",
                           "tests/base/b.cpp": "#include <fmt/format.h>\nauto b = fmt::format(\"\");\n"})

    def test_a_missing_header_is_named_in_every_folder(self):
        files = {f"{folder}/a.{suffix}": "std::vector<int> a;\n"
                 for folder in ("bench", "examples", "include", "src", "tests") for suffix in ("cpp", "h")}
        self.assertEqual(self.check(files), (1, [f"{name}: std::vector without <vector>" for name in files]))

    def test_every_header_that_is_missing_has_a_line(self):
        code, lines = self.check({"src/a.cpp": "#include <vector>\nstd::vector<std::string> a;\nuint8_t b;\n"
                                               "std::string c;\nint d = errno;\n"})
        self.assertEqual(code, 1)
        self.assertEqual(lines, ["src/a.cpp: std::string without <string>", "src/a.cpp: uint8_t without <cstdint>",
                                 "src/a.cpp: errno without <cerrno>"])

    def test_headers_of_the_project_count_through_others(self):
        files = {"src/base/list.h": "#include <vector>\n", "src/base/lists.h": "#include \"base/list.h\"\n",
                 "src/base/a.cpp": "#include \"base/lists.h\"\nstd::vector<int> a;\n",
                 "include/lib/name.h": "#include <string>\n",
                 "src/base/b.cpp": "#include <lib/name.h>\nstd::string b;\n",
                 "tests/support/near.h": "#include <map>\n", "tests/base/own.h": "#include \"near.h\"\n",
                 "tests/base/c.cpp": "#include \"own.h\"\nstd::map<int, int> c;\n"}
        self.expect_sound(files)
        files["src/base/list.h"] = ""
        self.assertEqual(self.check(files), (1, ["src/base/a.cpp: std::vector without <vector>"]))

    def test_comments_and_texts_use_nothing(self):
        self.expect_sound({"src/a.cpp": "// std::vector\n/* std::map\n   std::set */\n"
                                        "const char* a = \"std::list \\\" std::deque\";\n"})
        self.assertEqual(self.check({"src/a.cpp": "// #include <vector>\nstd::vector<int> a;\n"}),
                         (1, ["src/a.cpp: std::vector without <vector>"]))

    def test_a_header_stands_for_another_in_one_direction(self):
        self.expect_sound({"src/a.cpp": "#include <string>\nstd::string_view a;\n"})
        self.assertEqual(self.check({"src/a.cpp": "#include <string_view>\nstd::string a;\n"}),
                         (1, ["src/a.cpp: std::string without <string>"]))

    def test_longer_names_are_others(self):
        self.expect_sound({"src/a.cpp": "std::vectors a;\nmystd::vector b;\nint my_errno;\nnlohmann::json_fwd c;\n"})

    def test_parts_of_kernels_are_left_to_who_includes_them(self):
        self.expect_sound({"src/a.cpp": "#include <vector>\n#include \"a.inl.h\"\n",
                           "src/a.inl.h": "std::vector<int> a;\n"})

    def test_a_tree_without_files_is_an_error(self):
        code, lines = self.check({"docs/a.cpp": "std::vector<int> a;\n"})
        self.assertEqual(code, 1)
        self.assertRegex(lines[0], "^no C\\+\\+ files below /")


if __name__ == "__main__":
    unittest.main()
