/* The files of the page on /, built into the program. */
#ifndef TIDE_WEB_WEB_H
#define TIDE_WEB_WEB_H

#include <stddef.h>

struct tide_web_file {
    const char *path; /* As in the URL: "/", "/page.js". */
    const char *content_type;
    const unsigned char *bytes;
    size_t len;
};

/* All of them; the last has path NULL. */
extern const struct tide_web_file tide_web_files[];

#endif
