/* DUNLIN_API marks what the library exports; everything else is hidden. */
#ifndef DUNLIN_EXPORT_H
#define DUNLIN_EXPORT_H

#if defined(__GNUC__)
#define DUNLIN_API __attribute__((visibility("default")))
#else
#define DUNLIN_API
#endif

#endif
