// Messages about model files.
#include <sys/resource.h>

#include <csignal>
#include <filesystem>

#include "base/atomic_file.h"
#include "checkpoint/tiny_model.h"
#include "support/text_model_folder.h"
#include "troubleshooting.h"

namespace dunlin {
namespace {

namespace fs = std::filesystem;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

// The text model with other bytes as its weights.
ProcessResult run_with_weights(const TemporaryFolder& folder,
                               std::string (*change)(std::string weights)) {
  const std::string file = text_model(folder) + "/model.safetensors";
  write_all(file, change(read_all(file)));
  return run_hello(folder.path());
}

// A mixture of experts in MXFP4.
std::string mixture(const TemporaryFolder& folder) {
  const std::string from = std::string(DUNLIN_SOURCE_DIR) + "/tests/data/gpt_oss_mxfp4/model/";
  for (const char* name : {"config.json", "model.safetensors"})
    write_all(folder.file(name), read_all(from + name));
  return folder.path();
}

ProcessResult run_bytes(const TemporaryFolder& folder, const std::string& name,
                        const std::string& bytes) {
  write_all(folder.file(name), bytes);
  return run_hello(folder.file(name));
}

void limit_file_size() {
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit = {rlim_t{200} << 10, rlim_t{200} << 10};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

// A conversion that a limit on the size of files ended.
ProcessResult convert_half(const TemporaryFolder& folder, const std::string& out) {
  return run_dunlin({"convert", text_model(folder), out}, {.prepare = limit_file_size});
}

// The text model as a GGUF file, with more flags of that, prepared.
std::string prepared_model(const TemporaryFolder& folder, const std::vector<std::string>& flags) {
  std::vector<std::string> words = {"convert", text_model(folder), folder.file("in.gguf"), "-q"};
  words.insert(words.end(), flags.begin(), flags.end());
  run_dunlin(words);
  run_dunlin(
      {"convert", folder.file("in.gguf"), folder.file("prepared"), "--to", "prepared", "-q"});
  return folder.file("prepared");
}

// A model of 12 TB, in a file that takes no space.
ProcessResult convert_too_much(const TemporaryFolder& folder) {
  constexpr int64_t kSide = int64_t{1} << 20;
  std::string header;
  int64_t end = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    const int64_t begin = end;
    int64_t bytes = 4;
    for (const int64_t extent : shape) bytes *= extent;
    end += bytes;
    const nlohmann::json entry = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", {begin, end}}};
    header += (header.empty() ? "{" : ",") + nlohmann::json(name).dump() + ":" + entry.dump();
  };
  const std::string layer = "model.layers.0.";
  add("model.embed_tokens.weight", {12, kSide});
  add(layer + "self_attn.q_proj.weight", {12, kSide});
  for (const char* name : {"k", "v"}) add(layer + "self_attn." + name + "_proj.weight", {6, kSide});
  add(layer + "self_attn.o_proj.weight", {kSide, 12});
  for (const char* name : {"gate", "up"})
    add(layer + "mlp." + name + "_proj.weight", {kSide, kSide});
  add(layer + "mlp.down_proj.weight", {kSide, kSide});
  for (const char* name : {"input_layernorm", "post_attention_layernorm"})
    add(layer + name + ".weight", {kSide});
  add("model.norm.weight", {kSide});
  add("lm_head.weight", {12, kSide});
  header += '}';
  const uint64_t length = header.size();
  write_all(folder.file("model.safetensors"),
            std::string(reinterpret_cast<const char*>(&length), 8) + header);
  fs::resize_file(folder.file("model.safetensors"), 8 + length + static_cast<uint64_t>(end));
  nlohmann::json config = nlohmann::json::parse(tiny_config());
  config.update({{"hidden_size", kSide}, {"intermediate_size", kSide}});
  write_all(folder.file("config.json"), config.dump());
  return run_dunlin({"convert", folder.path(), folder.file("out.gguf")});
}

// The first of `count` parts, which are not there.
ProcessResult run_part(const TemporaryFolder& folder, uint16_t index, uint16_t count) {
  GgufBuilder part = tiny_gguf();
  part.set("split.no", kU16, raw(index)).set("split.count", kU16, raw(count));
  return run_bytes(folder, "tiny-0000" + std::to_string(index + 1) + "-of-00003.gguf",
                   part.build());
}

constexpr const char* kLfsPointer =
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nsize 98\n";

std::vector<MessageCase> directory_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <file>: No such file or directory",
       [](Folder folder) { return run_hello(folder.file("model.gguf")); }},
      {"error: <folder>: no config.json; give a Hugging Face directory or a .gguf file",
       [](Folder folder) { return run_hello(folder.path()); }},
      {"error: <folder>: neither model.safetensors nor model.safetensors.index.json is there",
       [](Folder folder) {
         fs::remove(text_model(folder) + "/model.safetensors");
         return run_hello(folder.path());
       }},
      {"error: <file>: pickled weights are not read, because reading them runs code; convert the "
       "model to safetensors",
       [](Folder folder) {
         fs::rename(text_model(folder) + "/model.safetensors", folder.file("pytorch_model.bin"));
         return run_hello(folder.path());
       }},
      {"error: <file>: models of type <name> are not supported; supported: <names>",
       [](Folder folder) {
         return run_hello(model_with_config(folder, {{"model_type", "mamba"}}));
       }},
      {"error: <file>: architectures of model_type <name> must name <name>; other heads are not "
       "supported",
       [](Folder folder) {
         const auto heads = nlohmann::json::array({"LlamaForTokenClassification"});
         return run_hello(model_with_config(folder, {{"architectures", heads}}));
       }},
      {"error: <file>: quantization_config.quant_method <name> is not supported; supported: "
       "<names>. "
       "Use the original model or a GGUF file",
       [](Folder folder) {
         const nlohmann::json gptq = {{"quant_method", "gptq"}, {"bits", 4}};
         return run_hello(model_with_config(folder, {{"quantization_config", gptq}}));
       }},
      {"error: <file>: <key>.rope_type <name> is not supported; supported: <names>",
       [](Folder folder) {
         const nlohmann::json dynamic = {{"rope_type", "dynamic"}, {"factor", 4.0}};
         return run_hello(model_with_config(folder, {{"rope_scaling", dynamic}}));
       }},
      {"error: <file>: the tensor <name> has the shape [<sizes>]; the configuration gives "
       "[<sizes>]",
       [](Folder folder) {
         return run_hello(model_with_config(folder, {{"intermediate_size", 192}}));
       }},
      {"error: <file>: the tensor <name> is missing",
       [](Folder folder) {
         return run_hello(model_with_config(folder, {{"num_hidden_layers", 3}}));
       }},
      {"error: <file>: neither a GGUF file nor a file of a Hugging Face directory",
       [](Folder folder) { return run_hello(text_model(folder) + "/tokenizer.json"); }},
      {"warning: <file>: auto_map names Python code, which is never run; the model is read as "
       "<name>",
       [](Folder folder) {
         const nlohmann::json code = {{"AutoModel", "modeling.Model"}};
         return run_hello(model_with_config(folder, {{"auto_map", code}}));
       }},
  };
}

std::vector<MessageCase> weight_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <folder>: the tokenizer has no token <n>, which is the mask",
       [](Folder folder) {
         write_text_diffusion_model(folder.path(), 606);
         return run_hello(folder.path());
       }},
      {"error: <file>: the tensor <name> is not part of a <name> model",
       [](Folder folder) {
         return run_with_weights(folder, [](std::string weights) {
           return replaced(weights, "model.norm.weight", "model.lora.weight");
         });
       }},
      {"error: <file>: the tensor <name> is half of a pair: <name> is missing",
       [](Folder folder) {
         const std::string model = mixture(folder);
         const std::string weights = read_all(model + "/model.safetensors");
         write_all(model + "/model.safetensors", replaced(weights, "proj_scales", "proj_scalez"));
         return run_dunlin({"inspect", model});
       }},
      {"error: <file>: layer_types[<n>] <name> is not supported (sliding_attention, "
       "full_attention)",
       [](Folder folder) {
         const std::string model = mixture(folder);
         const std::string config = read_all(model + "/config.json");
         write_all(model + "/config.json",
                   replaced(config, "sliding_attention", "chunked_attention"));
         return run_dunlin({"inspect", model, "--program"});
       }},
      {"error: <file>: layer_types is not a list of <n> names, one for each layer",
       [](Folder folder) {
         const std::string model = mixture(folder);
         auto config = nlohmann::json::parse(read_all(model + "/config.json"));
         config["layer_types"].erase(0);
         write_all(model + "/config.json", config.dump());
         return run_dunlin({"convert", model, folder.file("out.gguf")});
       }},
      {"error: <file>: the tensor <name> is not read by a <name> model with this configuration",
       [](Folder folder) {
         return run_hello(model_with_config(folder, {{"num_hidden_layers", 1}}));
       }},
      {"error: <file>: the tensor <name> is in <name>, but <name> with its scales is missing",
       [](Folder folder) {
         const std::string out = folder.file("fp8");
         run_dunlin({"quantize", text_model(folder), out, "F8_E4M3"});
         const std::string weights = out + "/model.safetensors";
         write_all(weights,
                   replaced(read_all(weights), "q_proj.weight_scale", "q_proj.weight_range"));
         return run_hello(out);
       }},
      {"error: --quantize <name>: <file> is quantised already (the tensor <name> is in <name>); it "
       "needs a model in F32, F16 or BF16",
       [](Folder folder) {
         const std::string out = folder.file("small.gguf");
         run_dunlin({"quantize", text_model(folder), out, "Q8_0"});
         return run_hello(out, {"--quantize", "Q4_0"});
       }},
      {"error: --quantize <name>: experts of a <name> model cannot be in it; Q8_0 has about as "
       "many bits",
       [](Folder /*folder*/) {
         const std::string data = std::string(DUNLIN_SOURCE_DIR) + "/tests/data/";
         return run_hello(data + "gpt_oss_bf16/model", {"--quantize", "F8_E4M3"});
       }},
      {"error: <file>: not a safetensors file, or cut short: a header of <n> bytes in a file of "
       "<n>",
       [](Folder folder) {
         return run_with_weights(folder, [](std::string) { return std::string(kLfsPointer); });
       }},
      {"error: <file>: the data of the tensor <name> are <n>..<n>, but the file holds <n> bytes of "
       "data",
       [](Folder folder) {
         return run_with_weights(
             folder, [](std::string weights) { return weights.substr(0, weights.size() / 2); });
       }},
      {"error: the model's logits hold a NaN or an infinity",
       [](Folder folder) {
         // The last four bytes are a weight of the last normalisation.
         return run_with_weights(folder, [](std::string weights) {
           return weights.replace(weights.size() - 4, 4, std::string("\0\0\xc0\x7f", 4));
         });
       }},
  };
}

std::vector<MessageCase> conversion_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <file>: <reason>; <file> holds what is done, and the same command goes on from "
       "there",
       [](Folder folder) { return convert_half(folder, folder.file("out.gguf")); }},
      {"error: <file>: is not finished: the command that wrote it was ended. The same command goes "
       "on from there",
       [](Folder folder) {
         const std::string out = folder.file("out.gguf");
         convert_half(folder, out);
         return run_hello(out + ".tmp");
       }},
      {"error: <file>: <n> MB are still to be written, but the disk has <n> MB free: <n> MB too "
       "few",
       convert_too_much},
      {"error: <folder>: its weights are packed (\"<name>\") and cannot be read otherwise; use the "
       "model it was made from, <file>",
       [](Folder folder) {
         return run_hello(prepared_model(folder, {}), {"--backend", "reference"});
       }},
      {"error: <folder>: it was not prepared for --precision <name> (there is no <what>); `dunlin "
       "convert <file> OUT --to prepared <flags>` makes another",
       [](Folder folder) {
         return run_hello(prepared_model(folder, {"--outtype", "f16"}), {"--precision", "f32"});
       }},
      {"error: <file>: damaged: the checksum of <what> differs",
       [](Folder folder) {
         const std::string file = prepared_model(folder, {}) + "/manifest.dunlin";
         std::string bytes = read_all(file);
         bytes[100] = static_cast<char>(bytes[100] ^ 1);
         write_all(file, bytes);
         return run_hello(folder.file("prepared"));
       }},
      {"error: <model>: its weights are packed while they are loaded and cannot be mapped; `dunlin "
       "convert <model> OUT --to prepared` packs them ahead",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--load-mode", "mmap", "--no-pack-cache"});
       }},
      {"error: <model>: its packed weights cannot be kept on disk, where they would be mapped: "
       "<problem>; `dunlin convert <model> OUT --to prepared` packs them ahead",
       [](Folder folder) {
         write_all(folder.file("notes.txt"), "Notes");
         return run_hello(text_model(folder), {"--offload", "auto"},
                          {.environment = {{"DUNLIN_PACK_CACHE", folder.file("notes.txt")}}});
       }},
      {"error: --offload auto maps the weights and --load-mode copy does not: leave one out",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--offload", "auto", "--load-mode", "copy"});
       }},
      {"warning: packed weights are not kept: <problem>",
       [](Folder folder) {
         write_all(folder.file("notes.txt"), "Notes");
         return run_hello(text_model(folder), {"--load-mode", "mmap"},
                          {.environment = {{"DUNLIN_PACK_CACHE", folder.file("notes.txt")}}});
       }},
      {"error: --offload needs the back end cpu, and this is <name>",
       [](Folder folder) {
         return run_hello(text_model(folder), {"--offload", "auto", "--backend", "reference"});
       }},
      {"error: DUNLIN_MEMORY_BUDGET: \"<value>\" is not a size such as 6000000000 or 6G",
       [](Folder folder) {
         return run_hello(prepared_model(folder, {}), {"--offload", "auto"},
                          {.environment = {{"DUNLIN_MEMORY_BUDGET", "half"}}});
       }},
      {"error: <folder> is a prepared directory, whose weights cannot be read back; take the model "
       "it was made from, <file>",
       [](Folder folder) {
         return run_dunlin(
             {"quantize", prepared_model(folder, {}), folder.file("small.gguf"), "Q8_0"});
       }},
      {"error: <folder> is a prepared directory for a mesh, of which --to prepared makes others; "
       "for "
       "another container take the model it was made from, <file>",
       [](Folder folder) {
         run_dunlin({"convert", text_model(folder), folder.file("mesh"), "--to", "prepared",
                     "--mesh", "model=2", "-q"});
         return run_dunlin({"convert", folder.file("mesh"), folder.file("out.gguf")});
       }},
      {"error: <folder>: <name> is for dense models, and a <name> model has experts; a type of "
       "GGUF "
       "files, such as Q8_0, is for both",
       [](Folder folder) {
         return run_dunlin({"quantize", mixture(folder), folder.file("int8"), "I8"});
       }},
      {"error: mesh <mesh>: <what> is stored as <name> in blocks of <n> columns, and the part of a "
       "device would begin or end at column <n>, inside block <n>; take a mesh with fewer parts "
       "there, or a format with smaller blocks",
       [](Folder folder) {
         const std::string small = folder.file("small.gguf");
         run_dunlin({"quantize", text_model(folder), small, "Q8_0", "-q"});
         return run_dunlin({"inspect", small, "--mesh", "fsdp=4"});
       }},
      {"error: <file>: another process is writing it",
       [](Folder folder) {
         const std::string out = folder.file("out.gguf");
         const auto other = AtomicFile::create(out);
         return run_dunlin({"convert", text_model(folder), out});
       }},
  };
}

std::vector<MessageCase> gguf_messages() {
  using Folder = const TemporaryFolder&;
  return {
      {"error: <file>: the tensor <name> needs <n> bytes at data offset <n>, beyond the file's <n> "
       "bytes",
       [](Folder folder) {
         const std::string whole = tiny_gguf().build();
         return run_bytes(folder, "cut.gguf", whole.substr(0, whole.size() - 200));
       }},
      {"error: <file>: not a GGUF file: it begins with \"<bytes>\"",
       [](Folder folder) { return run_bytes(folder, "pointer.gguf", kLfsPointer); }},
      {"error: <file>: GGUF version <n>; versions 2 and 3 are read: convert the original model "
       "again",
       [](Folder folder) {
         GgufBuilder old = tiny_gguf();
         old.version = 1;
         return run_bytes(folder, "old.gguf", old.build());
       }},
      {"error: <file>: the tensor <name> is stored as <type>; the formats that are read are "
       "<names>",
       [](Folder folder) {
         GgufBuilder builder = tiny_gguf();
         builder.tensor("token_embd.weight").type = 23;  // IQ4_XS
         return run_bytes(folder, "iq4.gguf", builder.build());
       }},
      {"error: <file>: part <n> of <n>; name the first part, <file>",
       [](Folder folder) { return run_part(folder, 1, 3); }},
      {"error: <file>: No such file or directory (part <n> of <n> of the model that <file> begins)",
       [](Folder folder) { return run_part(folder, 0, 3); }},
  };
}

}  // namespace

std::vector<MessageCase> model_messages() {
  std::vector<MessageCase> all = directory_messages();
  for (const auto& more : {weight_messages(), gguf_messages(), conversion_messages()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

const std::string& text_model(const TemporaryFolder& folder) {
  write_text_model(folder.path());
  return folder.path();
}

const std::string& model_with_config(const TemporaryFolder& folder, const nlohmann::json& keys) {
  const std::string file = text_model(folder) + "/config.json";
  nlohmann::json config = nlohmann::json::parse(read_all(file));
  config.update(keys);
  write_all(file, config.dump());
  return folder.path();
}

ProcessResult run_hello(const std::string& model, const std::vector<std::string>& more,
                        const ProcessInput& input) {
  std::vector<std::string> arguments = {"run", model, "Hello", "-n", "2", "-q"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_dunlin(arguments, input);
}

}  // namespace dunlin
