// The models that the tests of the public APIs load.
#pragma once

#include <string>

// A tiny golden model, which runs on token ids: a vocabulary of 160, stop ids 2, 5 and 9.
std::string ids_model();

// A tiny model with a tokenizer and a chat template, in a folder of the test's.
std::string text_model();

// A tiny model with the special tokens of Harmony (support/harmony_tokenizer.h).
std::string harmony_model();

// The text model with a tokenizer that splits text by a pattern which is not one of the known ones.
std::string pattern_model();
