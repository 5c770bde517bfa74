/* dunlin.h: the C API of Dunlin, for C programs and for bindings of other languages.
 *
 *     dunlin_engine* engine = NULL;
 *     if (dunlin_engine_load("model.gguf", NULL, &engine) != DUNLIN_OK)
 *       fprintf(stderr, "%s\n", dunlin_last_error());
 *
 * Stability. Every struct begins with struct_size, which its owner sets to sizeof(the struct): the
 * caller for what it passes in, the library for what callbacks get. Fields are only ever added at the
 * end. A smaller struct_size from an older header is accepted, and the missing fields have their
 * defaults; a larger one from a newer header is accepted when everything that this library does not
 * know is zero, and is DUNLIN_ERROR_USAGE otherwise. The two structs that come in arrays have no
 * struct_size and never grow. Numbers of enumerations never change. So a program runs with every
 * later library whose dunlin_abi_version() is the same.
 *
 * Errors. A function that can fail returns a dunlin_status. dunlin_last_error() is the text of the
 * last failure in the calling thread. No exception leaves the library; running out of memory is
 * DUNLIN_ERROR_DOES_NOT_FIT.
 *
 * Threads. One thread at a time calls dunlin_step(), dunlin_run_until_idle() or dunlin_generate()
 * (a second one gets DUNLIN_ERROR_USAGE). Everything else that takes an engine may be called from any
 * thread and from callbacks, but for dunlin_engine_free(): it is the last call with its engine, when
 * every other has returned. Callbacks are called by the thread that steps.
 *
 * Text is UTF-8. Strings that come in end with a zero byte unless a size stands beside them.
 */
#ifndef DUNLIN_H
#define DUNLIN_H

#include <stddef.h>
#include <stdint.h>

#include <dunlin/export.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DUNLIN_ABI_VERSION 1

typedef int32_t dunlin_status;
enum {
  DUNLIN_OK = 0,
  DUNLIN_ERROR_RUNTIME = 1, /* anything else */
  DUNLIN_ERROR_USAGE = 2,   /* an argument, a request field, a prompt longer than the context */
  DUNLIN_ERROR_MODEL = 3,   /* a model file that is missing, malformed or unsupported */
  DUNLIN_ERROR_DOES_NOT_FIT = 4, /* memory */
  DUNLIN_ERROR_DEVICE = 5,       /* a back end or accelerator that is missing or failed */
  DUNLIN_ERROR_VERIFICATION = 6, /* values that differ from a reference */
  DUNLIN_ERROR_NETWORK = 7,
  DUNLIN_ERROR_DEADLINE = 8,
  DUNLIN_ERROR_BUFFER = 9,    /* the caller's buffer is too small; the size it needs was stored */
  DUNLIN_ERROR_CANCELLED = 10 /* dunlin_generate() whose request was cancelled */
};

/* The version of the library, as "0.1.0". */
DUNLIN_API const char* dunlin_version(void);
/* DUNLIN_ABI_VERSION of the library that is running. */
DUNLIN_API uint32_t dunlin_abi_version(void);
/* Never NULL; valid until the next failure in the same thread. */
DUNLIN_API const char* dunlin_last_error(void);

/* ---- Loading ------------------------------------------------------------------------------- */

typedef struct dunlin_engine dunlin_engine;

enum {
  DUNLIN_PRECISION_AUTO = 0,
  DUNLIN_PRECISION_EXACT = 1,
  DUNLIN_PRECISION_F32 = 2,
  DUNLIN_PRECISION_INT8 = 3,
  DUNLIN_PRECISION_FAST = 4
};

enum {
  DUNLIN_KV_AUTO = 0, /* float32 with DUNLIN_PRECISION_F32, otherwise bf16 */
  DUNLIN_KV_BF16 = 1,
  DUNLIN_KV_F32 = 2,
  DUNLIN_KV_INT8 = 3 /* about half the memory of bf16 */
};

/* A field that is zero has its default. */
typedef struct dunlin_load_options {
  size_t struct_size;
  const char* backend; /* "cpu" (the default), "reference", a slow oracle, or "pjrt" */
  const char* isa;     /* scalar, avx2, avx512, amx; on ARM scalar, neon, dotprod, i8mm;
                          default: the best there is */
  int32_t precision;   /* DUNLIN_PRECISION_...: the arithmetic profile */
  int32_t threads;     /* default: one per core this process may use */
  int64_t context;     /* positions of one sequence; default: the model's, at most 8192 */
  int64_t sequences;   /* at a time; default: 1 */
  int64_t kv_tokens;   /* of all sequences together; default: the full context of each */
  int64_t rows;        /* of one step: the chunk of a prompt; default: 512 */
  void (*progress)(void* user, double fraction, const char* what); /* while loading; may be NULL */
  void* progress_user;
  const char* pack_cache; /* a folder in which large models are kept as the CPU back end packs them,
                           * for later loads, written while the engine answers; dunlin_engine_free()
                           * waits for that; default: nothing is kept */
  int32_t offload;     /* not zero: of the CPU back end, memory need not hold all weights, which are
                        * mapped from a prepared directory or from pack_cache and read while the
                        * model runs; default: 0 */
  int32_t kv_type;     /* DUNLIN_KV_...: what keys and values are kept as. DUNLIN_PRECISION_F32 goes
                        * with float32 alone, and no other precision does */
  const char* device;  /* of pjrt: cpu-xla (the default), tpu, gpu, or the path of a plug-in */
  const char* isolate; /* of pjrt: the path of the program dunlin, of this library's build, in whose
                        * process the plug-in runs: one that crashes, is killed or gives no answer is
                        * DUNLIN_ERROR_DEVICE; default: it is loaded into this process */
} dunlin_load_options;

/* Loads a Hugging Face directory, a .gguf file or a prepared directory. `options` may be NULL. On
 * failure *engine is NULL: DUNLIN_ERROR_MODEL names the file and what is wrong with it,
 * DUNLIN_ERROR_USAGE is an option (a context beyond the model's, for one) or a masked diffusion
 * model, DUNLIN_ERROR_DOES_NOT_FIT memory. */
DUNLIN_API dunlin_status dunlin_engine_load(const char* path, const dunlin_load_options* options,
                                            dunlin_engine** engine);
/* Drops requests that wait or run, without another event. NULL is ignored. Not from a callback, and
 * not while another thread is in a call with the engine: the handle is invalid afterwards, also for
 * dunlin_cancel(). */
DUNLIN_API void dunlin_engine_free(dunlin_engine* engine);

typedef struct dunlin_model_info {
  size_t struct_size;
  int64_t vocabulary;
  int64_t context;         /* positions of one sequence, as loaded */
  int64_t trained_context; /* that the model was trained for */
  int64_t parameters;
  uint64_t weights_bytes; /* in memory */
  uint64_t kv_bytes;
  int32_t threads;
  int32_t has_tokenizer;     /* 0: the model runs on token ids alone */
  int32_t has_chat_template; /* 0: dunlin_encode_chat() is an error */
  int32_t reserved;
} dunlin_model_info;

/* Fills the fields that info->struct_size covers. */
DUNLIN_API dunlin_status dunlin_get_model_info(const dunlin_engine* engine,
                                               dunlin_model_info* info);

/* ---- Text and token ids -------------------------------------------------------------------- */

/* *count is the capacity of `ids` when the function is called and the number of ids when it returns,
 * also with DUNLIN_ERROR_BUFFER, when nothing was stored. `ids` may be NULL when *count is 0. A model
 * without a tokenizer (or, for a conversation, a chat template) is DUNLIN_ERROR_MODEL, an id outside
 * the vocabulary DUNLIN_ERROR_USAGE. */

/* A text that goes to the model as it is: special tokens are recognised, and the bos token comes
 * first where the model expects one. */
DUNLIN_API dunlin_status dunlin_encode(const dunlin_engine* engine, const char* text, size_t size,
                                       int32_t* ids, size_t* count);

typedef struct dunlin_message {
  const char* role; /* "system", "user", "assistant" */
  const char* content;
} dunlin_message;

/* A conversation through the model's chat template, ready for the assistant's answer. Only the
 * template's own words become special tokens. */
DUNLIN_API dunlin_status dunlin_encode_chat(const dunlin_engine* engine,
                                            const dunlin_message* messages, size_t message_count,
                                            int32_t* ids, size_t* count);

/* Likewise for `text` and *size; no zero byte is added. Special tokens give no text. */
DUNLIN_API dunlin_status dunlin_decode(const dunlin_engine* engine, const int32_t* ids,
                                       size_t count, char* text, size_t* size);

/* ---- Requests ------------------------------------------------------------------------------ */

typedef struct dunlin_logit_bias {
  int32_t id;
  float bias;
} dunlin_logit_bias;

/* Zero has a meaning in most fields: start from dunlin_sampling_default(). */
typedef struct dunlin_sampling {
  size_t struct_size;
  float temperature;       /* 0: greedy, the lowest id among equal logits */
  int32_t top_k;           /* 0: off */
  float top_p;             /* 1: off */
  float min_p;             /* 0: off */
  float repeat_penalty;    /* 1: off */
  float frequency_penalty; /* 0: off */
  float presence_penalty;  /* 0: off */
  int32_t repeat_last_n;   /* tokens that repeat_penalty looks at; 0: off, -1: all */
  const dunlin_logit_bias* logit_bias;
  size_t logit_bias_count;
  uint64_t seed;
} dunlin_sampling;

/* What the model's authors recommend where they say so, otherwise the library's values (temperature
 * 0.8, top_k 40, top_p 0.95, min_p 0.05); seed 0. The caller sets sampling->struct_size before. */
DUNLIN_API dunlin_status dunlin_sampling_default(const dunlin_engine* engine,
                                                 dunlin_sampling* sampling);

/* What a custom sampler sees of one row of logits: the model's own, before any bias, penalty or
 * temperature. Valid during the call. */
typedef struct dunlin_logits {
  size_t struct_size;
  const int32_t* tokens; /* of the sequence so far: the prompt, then the answer */
  size_t token_count;
  size_t prompt_count;
  const int32_t* ids;  /* the best candidates by descending logit, ties by lowest id */
  const float* logits; /* of the candidates */
  size_t candidate_count;
  float log_sum_exp;  /* of the whole row, as the next two */
  float entropy;      /* nats */
  float varentropy;   /* nats squared */
  float uniform;      /* in [0, 1), from the request's seed and the token's position */
  const void* source; /* for dunlin_logits_row() */
} dunlin_logits;

/* The whole row that a sampler's candidates are from; *count (may be NULL): the vocabulary. Valid
 * during the call of the sampler. */
DUNLIN_API const float* dunlin_logits_row(const dunlin_logits* logits, size_t* count);

/* Returns the token, or -1 to leave the choice to the request's dunlin_sampling. Another id outside
 * the vocabulary fails the request. */
typedef int32_t (*dunlin_sampler)(void* user, const dunlin_logits* logits);

enum { DUNLIN_EVENT_TOKEN = 0, DUNLIN_EVENT_FINISHED = 1, DUNLIN_EVENT_FAILED = 2 };
enum { DUNLIN_FINISH_STOP = 0, DUNLIN_FINISH_LENGTH = 1 };

/* Valid during the call. */
typedef struct dunlin_event {
  size_t struct_size;
  uint64_t request;
  int32_t kind;     /* DUNLIN_EVENT_... */
  int32_t token;    /* of a token event; -1 when only held-back text came free */
  const char* text; /* of token and finished events: complete UTF-8 with a zero byte behind it */
  size_t text_size;
  int32_t finish_reason; /* of a finished event: DUNLIN_FINISH_... */
  dunlin_status status;  /* of a failed event */
  const char* error;     /* of a failed event, otherwise NULL */
  int64_t prompt_tokens; /* of a finished event, as the rest */
  int64_t cached_tokens; /* of the prompt, found in the cache */
  int64_t predicted_tokens;
  double prompt_ms;    /* from the first step of the request to its first token */
  double predicted_ms; /* from the first token to the last */
} dunlin_event;

/* Returning something else than 0 cancels the request. */
typedef int (*dunlin_event_callback)(void* user, const dunlin_event* event);

/* A piece of what the model says, on a channel of its chat format (Harmony of GPT-OSS). Valid during
 * the call. */
typedef struct dunlin_channel_text {
  size_t struct_size;
  uint64_t request;
  const char* channel;   /* "final": the answer, which is all text of a model without channels;
                          * "analysis": thoughts; "commentary": calls of tools, and words between;
                          * "": a call of a tool that names none */
  const char* recipient; /* of a call of a tool, as "functions.get_weather": the text is its
                          * arguments; otherwise "" */
  const char* text;      /* that became certain: complete UTF-8 with a zero byte behind it */
  size_t text_size;
  int32_t begins; /* a message beside the answer begins with this piece, which may be empty */
  int32_t reserved;
} dunlin_channel_text;

/* Returning something else than 0 cancels the request. */
typedef int (*dunlin_channel_callback)(void* user, const dunlin_channel_text* piece);

/* A field that is zero has its default, but for max_tokens: use -1 for no limit. */
typedef struct dunlin_request {
  size_t struct_size;
  const int32_t* prompt;
  size_t prompt_count;
  int64_t max_tokens; /* of the answer; -1: until the context is full */
  dunlin_event_callback on_event;
  void* user;                      /* for on_event, sampler and on_text */
  const dunlin_sampling* sampling; /* NULL: dunlin_sampling_default() */
  const int32_t* stop_ids;         /* besides the model's */
  size_t stop_id_count;
  const char* const* stop; /* strings that end the answer; need a tokenizer */
  size_t stop_count;
  int32_t ignore_eos; /* the model's stop ids are tokens like any other */
  int32_t reserved;
  uint64_t session;       /* not 0: the cache stays for the next request with the same one */
  dunlin_sampler sampler; /* may be NULL */
  /* May be NULL: gets all text with its channel, each event's before on_event gets the event. An
   * event has the text of "final" alone. */
  dunlin_channel_callback on_text;
} dunlin_request;

/* Queues a request; everything it points to is copied, but for what `user` points to. *id (may be
 * NULL) is never 0. DUNLIN_ERROR_USAGE: an empty prompt, an id outside the vocabulary, a prompt that
 * leaves no room in the context, a parameter out of range, stop strings without a tokenizer. */
DUNLIN_API dunlin_status dunlin_submit(dunlin_engine* engine, const dunlin_request* request,
                                       uint64_t* id);
/* No event of the request follows, but for one that another thread is sending right now. An id that
 * is unknown or finished is ignored. */
DUNLIN_API dunlin_status dunlin_cancel(dunlin_engine* engine, uint64_t id);
/* Gives back what the session holds. */
DUNLIN_API dunlin_status dunlin_end_session(dunlin_engine* engine, uint64_t session);

/* One step of the model over whatever is ready. *more (may be NULL): whether anything is left. What
 * a callback that is C++ threw is DUNLIN_ERROR_RUNTIME, here and below; its request is gone. */
DUNLIN_API dunlin_status dunlin_step(dunlin_engine* engine, int32_t* more);
DUNLIN_API dunlin_status dunlin_run_until_idle(dunlin_engine* engine);
/* Submits the request and steps until it is over; other requests go on meanwhile. A request that
 * fails returns its error. */
DUNLIN_API dunlin_status dunlin_generate(dunlin_engine* engine, const dunlin_request* request);

#ifdef __cplusplus
}
#endif

#endif
