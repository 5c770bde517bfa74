// Names of what every layer has, as one: what reports add up by.
#pragma once

#include <string>
#include <string_view>

namespace dunlin {

// "layers.*.mlp.gate" of "layers.3.mlp.gate": a star for every part between dots that is a number.
std::string without_numbers(std::string_view name);

}  // namespace dunlin
