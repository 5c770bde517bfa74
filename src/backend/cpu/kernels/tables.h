// How each instruction set's files enter their kernels into the table (kernels.cpp calls them in
// rising order).
#pragma once

#include "backend/cpu/kernels/kernels.h"

namespace dunlin {

void add_memory_kernels(Kernels& table);
void add_scalar_linear(Kernels& table);
void add_scalar_rows(Kernels& table);
void add_scalar_attention(Kernels& table);
void add_avx2_linear(Kernels& table);
void add_avx2_rows(Kernels& table);
void add_avx2_attention(Kernels& table);
void add_avx512_linear(Kernels& table);
void add_avx512_rows(Kernels& table);
void add_avx512_attention(Kernels& table);
void add_amx_linear(Kernels& table);
void add_amx_attention(Kernels& table);
void add_neon_linear(Kernels& table);
void add_neon_rows(Kernels& table);
void add_neon_attention(Kernels& table);
void add_dotprod_linear(Kernels& table);
void add_i8mm_linear(Kernels& table);

// ln(z), evaluated in double by the C library and rounded once.
float log_once(float z);

// Enters kernel `function` under the name operation_isa.
#define DUNLIN_ROW(table, isa, entry, operation, ...) \
  table.entry = {operation "_" #isa, isa::__VA_ARGS__}

#define DUNLIN_LINEAR_ROW(table, isa, arithmetic, form, ...)           \
  table.linear[int(Arithmetic::arithmetic)][int(PackedForm::form)] = { \
      "linear_" #arithmetic "_" #form "_" #isa, isa::__VA_ARGS__}

// `kernel` is a template over the form.
#define DUNLIN_INT8_ROWS(table, isa, kernel)                               \
  DUNLIN_LINEAR_ROW(table, isa, int8, q4, kernel<PackedForm::q4>);         \
  DUNLIN_LINEAR_ROW(table, isa, int8, q4_min, kernel<PackedForm::q4_min>); \
  DUNLIN_LINEAR_ROW(table, isa, int8, q5, kernel<PackedForm::q5>);         \
  DUNLIN_LINEAR_ROW(table, isa, int8, q5_min, kernel<PackedForm::q5_min>); \
  DUNLIN_LINEAR_ROW(table, isa, int8, q6, kernel<PackedForm::q6>);         \
  DUNLIN_LINEAR_ROW(table, isa, int8, q8, kernel<PackedForm::q8>);         \
  DUNLIN_LINEAR_ROW(table, isa, int8, mxfp4, kernel<PackedForm::mxfp4>)

#define DUNLIN_WIDE_ROW(table, isa, kernel) DUNLIN_LINEAR_ROW(table, isa, int8wide, wide, kernel)

// Weights of bf16 and mxfp4 need no rounding, and f32 arithmetic rounds nothing: their kernels are
// the same, on other activations.
#define DUNLIN_LINEAR_ROWS(table, isa)                                                  \
  DUNLIN_LINEAR_ROW(table, isa, f32, f32, linear_floats<PackedForm::f32, false>);       \
  DUNLIN_LINEAR_ROW(table, isa, f32, bf16, linear_floats<PackedForm::bf16, false>);     \
  DUNLIN_LINEAR_ROW(table, isa, f32, f16, linear_floats<PackedForm::f16, false>);       \
  DUNLIN_LINEAR_ROW(table, isa, f32, q4, linear_floats<PackedForm::q4, false>);         \
  DUNLIN_LINEAR_ROW(table, isa, f32, q4_min, linear_floats<PackedForm::q4_min, false>); \
  DUNLIN_LINEAR_ROW(table, isa, f32, q5, linear_floats<PackedForm::q5, false>);         \
  DUNLIN_LINEAR_ROW(table, isa, f32, q5_min, linear_floats<PackedForm::q5_min, false>); \
  DUNLIN_LINEAR_ROW(table, isa, f32, q6, linear_floats<PackedForm::q6, false>);         \
  DUNLIN_LINEAR_ROW(table, isa, f32, q8, linear_floats<PackedForm::q8, false>);         \
  DUNLIN_LINEAR_ROW(table, isa, f32, mxfp4, linear_floats<PackedForm::mxfp4, false>);   \
  DUNLIN_LINEAR_ROW(table, isa, bf16, bf16, linear_floats<PackedForm::bf16, false>);    \
  DUNLIN_LINEAR_ROW(table, isa, bf16, f16, linear_floats<PackedForm::f16, true>);       \
  DUNLIN_LINEAR_ROW(table, isa, bf16, q4, linear_floats<PackedForm::q4, true>);         \
  DUNLIN_LINEAR_ROW(table, isa, bf16, q4_min, linear_floats<PackedForm::q4_min, true>); \
  DUNLIN_LINEAR_ROW(table, isa, bf16, q5, linear_floats<PackedForm::q5, true>);         \
  DUNLIN_LINEAR_ROW(table, isa, bf16, q5_min, linear_floats<PackedForm::q5_min, true>); \
  DUNLIN_LINEAR_ROW(table, isa, bf16, q6, linear_floats<PackedForm::q6, true>);         \
  DUNLIN_LINEAR_ROW(table, isa, bf16, q8, linear_floats<PackedForm::q8, true>);         \
  DUNLIN_LINEAR_ROW(table, isa, bf16, mxfp4, linear_floats<PackedForm::mxfp4, false>);  \
  DUNLIN_INT8_ROWS(table, isa, linear_int8);                                            \
  DUNLIN_WIDE_ROW(table, isa, linear_wide)

#define DUNLIN_ROW_ROWS(table, isa)                                                             \
  DUNLIN_ROW(table, isa, prepare[int(Arithmetic::f32)], "prepare_f32", prepare_floats<false>);  \
  DUNLIN_ROW(table, isa, prepare[int(Arithmetic::bf16)], "prepare_bf16", prepare_floats<true>); \
  DUNLIN_ROW(table, isa, prepare[int(Arithmetic::int8)], "prepare_int8", prepare_int8);         \
  DUNLIN_ROW(table, isa, prepare[int(Arithmetic::int8wide)], "prepare_int8wide",                \
             prepare_int8wide);                                                                 \
  DUNLIN_ROW(table, isa, rms_norm, "rms_norm_f32", rms_norm);                                   \
  DUNLIN_ROW(table, isa, add, "add_f32", binary<isa::add>);                                     \
  DUNLIN_ROW(table, isa, mul, "mul_f32", binary<isa::mul>);                                     \
  DUNLIN_ROW(table, isa, add_scaled, "add_scaled_f32", add_scaled);                             \
  DUNLIN_ROW(table, isa, gated[int(Gate::silu)], "gated_silu_f32", gated<Gate::silu>);          \
  DUNLIN_ROW(table, isa, gated[int(Gate::gelu_tanh)], "gated_gelu_tanh_f32",                    \
             gated<Gate::gelu_tanh>);                                                           \
  DUNLIN_ROW(table, isa, gated[int(Gate::oai)], "gated_oai_f32", gated<Gate::oai>);             \
  DUNLIN_ROW(table, isa, rope, "rope_f32", rope);                                               \
  DUNLIN_ROW(table, isa, logit_statistics, "logit_statistics_f32", logit_statistics);           \
  DUNLIN_ROW(table, isa, top_k, "top_k_f32", top_k)

#define DUNLIN_ATTENTION_ROWS(table, isa)                                                          \
  DUNLIN_ROW(table, isa, attention_split[int(KvType::bf16)], "attention_split_bf16",               \
             attention_split<KvType::bf16>);                                                       \
  DUNLIN_ROW(table, isa, attention_split[int(KvType::f32)], "attention_split_f32",                 \
             attention_split<KvType::f32>);                                                        \
  DUNLIN_ROW(table, isa, attention_split[int(KvType::int8)], "attention_split_int8",               \
             attention_split<KvType::int8>);                                                       \
  DUNLIN_ROW(table, isa, attention[int(KvType::bf16)], "attention_bf16", attention<KvType::bf16>); \
  DUNLIN_ROW(table, isa, attention[int(KvType::f32)], "attention_f32", attention<KvType::f32>);    \
  DUNLIN_ROW(table, isa, attention[int(KvType::int8)], "attention_int8", attention<KvType::int8>); \
  DUNLIN_ROW(table, isa, attention_merge, "attention_merge_f32", attention_merge)

}  // namespace dunlin
