/* Loads a model and streams its answer: stream_c MODEL "Why is the sky blue?" */
#include <dunlin/dunlin.h>
#include <stdio.h>

enum { MAX_PROMPT = 4096 };

static int failed(const char* what) {
  fprintf(stderr, "error: %s: %s\n", what, dunlin_last_error());
  return 1;
}

static int print_text(void* user, const dunlin_event* event) {
  (void)user;
  if (event->text != NULL) fwrite(event->text, 1, event->text_size, stdout);
  fflush(stdout);
  return 0; /* something else would cancel the request */
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: stream_c MODEL PROMPT\n");
    return 2;
  }
  dunlin_engine* engine = NULL;
  if (dunlin_engine_load(argv[1], NULL, &engine) != DUNLIN_OK) return failed(argv[1]);

  static int32_t prompt[MAX_PROMPT];
  size_t count = MAX_PROMPT;
  const dunlin_message message = {"user", argv[2]};
  int exit_code = 0;
  if (dunlin_encode_chat(engine, &message, 1, prompt, &count) != DUNLIN_OK) {
    exit_code = failed("prompt");
  } else {
    const dunlin_request request = {.struct_size = sizeof request,
                                    .prompt = prompt,
                                    .prompt_count = count,
                                    .max_tokens = 200,
                                    .on_event = print_text};
    if (dunlin_generate(engine, &request) != DUNLIN_OK) exit_code = failed("answer");
    printf("\n");
  }
  dunlin_engine_free(engine);
  return exit_code;
}
