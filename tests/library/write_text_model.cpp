// Writes a tiny model with a tokenizer and a chat template into a folder, for the examples to run on.
#include "support/text_model_folder.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  dunlin::write_text_model(argv[1]);
  return 0;
}
