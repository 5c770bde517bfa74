#!/usr/bin/env python3
"""Uses the installed library as a stranger would: installs it into a temporary prefix, builds the examples with
find_package, a project in C alone, and a program with pkg-config, and runs them.

    install_test.py BUILD SOURCE WRITE_TEXT_MODEL

The library is the one of BUILD: static, or shared where that tree has BUILD_SHARED_LIBS=ON, as one of scripts/test-all.
DUNLIN_TEST_MODEL, when set, names a real model that has to answer too."""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

C_PROJECT = """cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
set(CMAKE_C_STANDARD 11)
find_package(dunlin 0.1 REQUIRED)
add_executable(stream_c "{source}")
target_compile_options(stream_c PRIVATE -pedantic -Wall -Wextra -Werror)
target_link_libraries(stream_c PRIVATE dunlin::c)
"""

WRONG_VERSION = """cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES CXX)
find_package(dunlin 9.0 QUIET)
if(dunlin_FOUND)
  message(FATAL_ERROR "a version that does not exist was found")
endif()
"""


def run(*command, **options):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit code {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result.stdout


def cache_entry(build, name):
    for line in (build / "CMakeCache.txt").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split("=", 1)[1]
    return ""


def require(condition, what):
    if not condition:
        sys.exit(what)


class Consumer:
    """Projects that find the library in `prefix`."""

    def __init__(self, work, prefix, main_build, forbidden):
        self.work = work
        self.forbidden = forbidden
        self.prefix = prefix
        self.compilers = [f"-DCMAKE_{language}_COMPILER={cache_entry(main_build, f'CMAKE_{language}_COMPILER')}"
                          for language in ("C", "CXX")]
        self.cc = cache_entry(main_build, "CMAKE_C_COMPILER")

    def build(self, name, source):
        tree = self.work / f"build-{name}"
        run("cmake", "-S", source, "-B", tree, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.prefix}",
            "-DCMAKE_BUILD_TYPE=Release", *self.compilers)
        run("cmake", "--build", tree)
        # Neither a flag nor a header that was read comes from the tree that the library was built in.
        self.require_apart((tree / "build.ninja").read_text(), f"{name}: build.ninja")
        self.require_apart(run("ninja", "-C", tree, "-t", "deps"), f"{name}: what the compiler read")
        return tree

    def require_apart(self, text, what):
        for folder in self.forbidden:
            require(str(folder) not in text, f"{what} names {folder}")

    def project(self, name, text):
        folder = self.work / name
        folder.mkdir()
        (folder / "CMakeLists.txt").write_text(text)
        return self.build(name, folder)

    def with_pkg_config(self, source):
        found = list(self.prefix.rglob("dunlin.pc"))
        require(len(found) == 1, f"{self.prefix}: dunlin.pc is not there once")
        environment = dict(os.environ, PKG_CONFIG_PATH=str(found[0].parent))
        flags = run("pkg-config", "--cflags", "--libs", "dunlin", env=environment).split()
        program = self.work / "pkg_config_stream"
        run(self.cc, source, "-o", program, *flags, f"-Wl,-rpath,{found[0].parent.parent}")
        return program


def check_answers(program, model, same_as=None):
    answer = run(program, model, "Hello there")
    require(answer.strip(), f"{program}: no answer")
    require(same_as in (None, answer), f"{program}: another answer than\n{same_as}\nnamely\n{answer}")
    missing = subprocess.run([str(program), "/no/such/model", "text"], capture_output=True, text=True)
    require(missing.returncode in range(1, 10) and "/no/such/model" in missing.stderr,
            f"{program}: a missing model gives exit code {missing.returncode} and {missing.stderr!r}")
    return answer


def check_token_ids(program, model):
    lines = run(program, model, "1,2,3", "4,5").splitlines()
    answers = [line.split(" | ")[1].strip(",").split(",") for line in lines]
    require([len(answer) for answer in answers] == [16, 16], f"{program}: {lines}")
    require(lines == run(program, model, "1,2,3", "4,5").splitlines(), f"{program}: another answer the second time")
    require(run(program, model, "4,5").strip() == lines[1], f"{program}: an answer depends on its neighbour")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("write_text_model", type=pathlib.Path)
    arguments = parser.parse_args()
    source = arguments.source.resolve()

    with tempfile.TemporaryDirectory(prefix="dunlin-install-") as folder:
        work = pathlib.Path(folder)
        library_build = arguments.build.resolve()
        prefix = work / "prefix"
        run("cmake", "--install", library_build, "--prefix", prefix, "--component", "library")
        moved = work / "moved"  # an installed tree may be moved
        shutil.move(prefix, moved)

        consumer = Consumer(work, moved, library_build, (source, library_build))
        for path in moved.rglob("*"):
            if path.suffix in (".cmake", ".pc", ".h"):
                consumer.require_apart(path.read_text(), path)
        sources = work / "examples"
        shutil.copytree(source / "examples", sources)
        examples = consumer.build("examples", sources)
        in_c = consumer.project("c_only", C_PROJECT.format(source=sources / "stream.c"))
        consumer.project("wrong_version", WRONG_VERSION)
        from_pkg_config = consumer.with_pkg_config(sources / "stream.c")

        text_model = work / "text_model"
        text_model.mkdir()
        run(arguments.write_text_model, text_model)
        answer = check_answers(examples / "stream", text_model)
        for program in (examples / "stream_c", in_c / "stream_c", from_pkg_config):
            check_answers(program, text_model, same_as=answer)
        check_token_ids(examples / "own_sampler", source / "tests" / "data" / "llama_plain" / "model")
        real = os.environ.get("DUNLIN_TEST_MODEL")
        if real:
            check_answers(examples / "stream", real)
        shared = cache_entry(library_build, "BUILD_SHARED_LIBS") == "ON"
        print(f"the {'shared' if shared else 'static'} library works from an install prefix"
              f"{' and answers with ' + real if real else '; no DUNLIN_TEST_MODEL'}")


if __name__ == "__main__":
    main()
