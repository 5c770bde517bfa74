/* The binary interface of dunlin.h as version 1 published it: a change of any line below breaks
 * programs that were compiled before. Compiled as C11, pedantically: the header is C. */
#include <dunlin/dunlin.h>

#if UINTPTR_MAX != UINT64_MAX
#error "sizes and offsets are recorded for 64-bit pointers"
#endif

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " changed its size")
#define AT(type, field, bytes) \
  _Static_assert(offsetof(type, field) == (bytes), #type "." #field " moved")

_Static_assert(DUNLIN_ABI_VERSION == 1, "a new version needs a record of its own");

SIZE(dunlin_status, 4);
_Static_assert(DUNLIN_OK == 0 && DUNLIN_ERROR_RUNTIME == 1 && DUNLIN_ERROR_USAGE == 2 &&
                   DUNLIN_ERROR_MODEL == 3 && DUNLIN_ERROR_DOES_NOT_FIT == 4 &&
                   DUNLIN_ERROR_DEVICE == 5 && DUNLIN_ERROR_VERIFICATION == 6 &&
                   DUNLIN_ERROR_NETWORK == 7 && DUNLIN_ERROR_DEADLINE == 8 &&
                   DUNLIN_ERROR_BUFFER == 9 && DUNLIN_ERROR_CANCELLED == 10,
               "a status changed its number");
_Static_assert(DUNLIN_PRECISION_AUTO == 0 && DUNLIN_PRECISION_EXACT == 1 &&
                   DUNLIN_PRECISION_F32 == 2 && DUNLIN_PRECISION_INT8 == 3 &&
                   DUNLIN_PRECISION_FAST == 4,
               "a precision changed its number");
_Static_assert(DUNLIN_KV_AUTO == 0 && DUNLIN_KV_BF16 == 1 && DUNLIN_KV_F32 == 2 &&
                   DUNLIN_KV_INT8 == 3,
               "a type of keys and values changed its number");
_Static_assert(DUNLIN_EVENT_TOKEN == 0 && DUNLIN_EVENT_FINISHED == 1 && DUNLIN_EVENT_FAILED == 2,
               "an event changed its number");
_Static_assert(DUNLIN_FINISH_STOP == 0 && DUNLIN_FINISH_LENGTH == 1,
               "a finish reason changed its number");

SIZE(dunlin_load_options, 112);
AT(dunlin_load_options, struct_size, 0);
AT(dunlin_load_options, backend, 8);
AT(dunlin_load_options, isa, 16);
AT(dunlin_load_options, precision, 24);
AT(dunlin_load_options, threads, 28);
AT(dunlin_load_options, context, 32);
AT(dunlin_load_options, sequences, 40);
AT(dunlin_load_options, kv_tokens, 48);
AT(dunlin_load_options, rows, 56);
AT(dunlin_load_options, progress, 64);
AT(dunlin_load_options, progress_user, 72);
AT(dunlin_load_options, pack_cache, 80);
AT(dunlin_load_options, offload, 88); /* the first 88 bytes are those of older headers */
AT(dunlin_load_options, kv_type, 92);
AT(dunlin_load_options, device, 96);
AT(dunlin_load_options, isolate, 104);

SIZE(dunlin_model_info, 72);
AT(dunlin_model_info, struct_size, 0);
AT(dunlin_model_info, vocabulary, 8);
AT(dunlin_model_info, context, 16);
AT(dunlin_model_info, trained_context, 24);
AT(dunlin_model_info, parameters, 32);
AT(dunlin_model_info, weights_bytes, 40);
AT(dunlin_model_info, kv_bytes, 48);
AT(dunlin_model_info, threads, 56);
AT(dunlin_model_info, has_tokenizer, 60);
AT(dunlin_model_info, has_chat_template, 64);
AT(dunlin_model_info, reserved, 68);

SIZE(dunlin_message, 16);
AT(dunlin_message, role, 0);
AT(dunlin_message, content, 8);

SIZE(dunlin_logit_bias, 8);
AT(dunlin_logit_bias, id, 0);
AT(dunlin_logit_bias, bias, 4);

SIZE(dunlin_sampling, 64);
AT(dunlin_sampling, struct_size, 0);
AT(dunlin_sampling, temperature, 8);
AT(dunlin_sampling, top_k, 12);
AT(dunlin_sampling, top_p, 16);
AT(dunlin_sampling, min_p, 20);
AT(dunlin_sampling, repeat_penalty, 24);
AT(dunlin_sampling, frequency_penalty, 28);
AT(dunlin_sampling, presence_penalty, 32);
AT(dunlin_sampling, repeat_last_n, 36);
AT(dunlin_sampling, logit_bias, 40);
AT(dunlin_sampling, logit_bias_count, 48);
AT(dunlin_sampling, seed, 56);

SIZE(dunlin_logits, 80);
AT(dunlin_logits, struct_size, 0);
AT(dunlin_logits, tokens, 8);
AT(dunlin_logits, token_count, 16);
AT(dunlin_logits, prompt_count, 24);
AT(dunlin_logits, ids, 32);
AT(dunlin_logits, logits, 40);
AT(dunlin_logits, candidate_count, 48);
AT(dunlin_logits, log_sum_exp, 56);
AT(dunlin_logits, entropy, 60);
AT(dunlin_logits, varentropy, 64);
AT(dunlin_logits, uniform, 68);
AT(dunlin_logits, source, 72);

SIZE(dunlin_event, 96);
AT(dunlin_event, struct_size, 0);
AT(dunlin_event, request, 8);
AT(dunlin_event, kind, 16);
AT(dunlin_event, token, 20);
AT(dunlin_event, text, 24);
AT(dunlin_event, text_size, 32);
AT(dunlin_event, finish_reason, 40);
AT(dunlin_event, status, 44);
AT(dunlin_event, error, 48);
AT(dunlin_event, prompt_tokens, 56);
AT(dunlin_event, cached_tokens, 64);
AT(dunlin_event, predicted_tokens, 72);
AT(dunlin_event, prompt_ms, 80);
AT(dunlin_event, predicted_ms, 88);

SIZE(dunlin_channel_text, 56);
AT(dunlin_channel_text, struct_size, 0);
AT(dunlin_channel_text, request, 8);
AT(dunlin_channel_text, channel, 16);
AT(dunlin_channel_text, recipient, 24);
AT(dunlin_channel_text, text, 32);
AT(dunlin_channel_text, text_size, 40);
AT(dunlin_channel_text, begins, 48);
AT(dunlin_channel_text, reserved, 52);

SIZE(dunlin_request, 120);
AT(dunlin_request, struct_size, 0);
AT(dunlin_request, prompt, 8);
AT(dunlin_request, prompt_count, 16);
AT(dunlin_request, max_tokens, 24);
AT(dunlin_request, on_event, 32);
AT(dunlin_request, user, 40);
AT(dunlin_request, sampling, 48);
AT(dunlin_request, stop_ids, 56);
AT(dunlin_request, stop_id_count, 64);
AT(dunlin_request, stop, 72);
AT(dunlin_request, stop_count, 80);
AT(dunlin_request, ignore_eos, 88);
AT(dunlin_request, reserved, 92);
AT(dunlin_request, session, 96);
AT(dunlin_request, sampler, 104);
AT(dunlin_request, on_text, 112); /* the first 112 bytes are those of the first headers */

/* The functions with the types they have: a change does not compile. */
const char* (*const dunlin_abi_version_text)(void) = dunlin_version;
uint32_t (*const dunlin_abi_version_number)(void) = dunlin_abi_version;
const char* (*const dunlin_abi_last_error)(void) = dunlin_last_error;
dunlin_status (*const dunlin_abi_load)(const char*, const dunlin_load_options*,
                                       dunlin_engine**) = dunlin_engine_load;
void (*const dunlin_abi_free)(dunlin_engine*) = dunlin_engine_free;
dunlin_status (*const dunlin_abi_info)(const dunlin_engine*,
                                       dunlin_model_info*) = dunlin_get_model_info;
dunlin_status (*const dunlin_abi_encode)(const dunlin_engine*, const char*, size_t, int32_t*,
                                         size_t*) = dunlin_encode;
dunlin_status (*const dunlin_abi_encode_chat)(const dunlin_engine*, const dunlin_message*, size_t,
                                              int32_t*, size_t*) = dunlin_encode_chat;
dunlin_status (*const dunlin_abi_decode)(const dunlin_engine*, const int32_t*, size_t, char*,
                                         size_t*) = dunlin_decode;
dunlin_status (*const dunlin_abi_sampling)(const dunlin_engine*,
                                           dunlin_sampling*) = dunlin_sampling_default;
const float* (*const dunlin_abi_row)(const dunlin_logits*, size_t*) = dunlin_logits_row;
int (*const dunlin_abi_on_text)(void*, const dunlin_channel_text*) = (dunlin_channel_callback)0;
dunlin_status (*const dunlin_abi_submit)(dunlin_engine*, const dunlin_request*,
                                         uint64_t*) = dunlin_submit;
dunlin_status (*const dunlin_abi_cancel)(dunlin_engine*, uint64_t) = dunlin_cancel;
dunlin_status (*const dunlin_abi_end_session)(dunlin_engine*, uint64_t) = dunlin_end_session;
dunlin_status (*const dunlin_abi_step)(dunlin_engine*, int32_t*) = dunlin_step;
dunlin_status (*const dunlin_abi_run)(dunlin_engine*) = dunlin_run_until_idle;
dunlin_status (*const dunlin_abi_generate)(dunlin_engine*, const dunlin_request*) = dunlin_generate;
