// Loads a model and streams its answer: stream MODEL "Why is the sky blue?"
#include <dunlin/engine.h>

#include <iostream>

int report(const dunlin::Error& error) {
  std::cerr << "error: " << error.message << "\n";
  return static_cast<int>(error.kind);
}

int main(int argc, char** argv) {
  if (argc != 3) return report({dunlin::ErrorKind::usage, "usage: stream MODEL PROMPT"});

  auto engine = dunlin::Engine::load(argv[1]);
  if (!engine.ok()) return report(engine.error());
  const auto prompt = engine->encode_chat({{"user", argv[2]}});
  if (!prompt.ok()) return report(prompt.error());

  int exit_code = 0;
  const auto request =
      engine->submit({.prompt = *prompt, .sampling = engine->model().sampling, .max_tokens = 200},
                     [&exit_code](const dunlin::Event& event) {
                       std::cout << event.text << std::flush;
                       if (event.error) exit_code = report(*event.error);
                     });
  if (!request.ok()) return report(request.error());
  engine->run_until_idle();
  std::cout << "\n";
  return exit_code;
}
