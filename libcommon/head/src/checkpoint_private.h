/* What writing and reading a head's checkpoint agree on. Layout: docs/format/checkpoint.md. */
#ifndef TIDE_HEAD_CHECKPOINT_PRIVATE_H
#define TIDE_HEAD_CHECKPOINT_PRIVATE_H

#define TIDE__CHECKPOINT_MAGIC "TIDEHEAD"
#define TIDE__CHECKPOINT_MAGIC_BYTES 8u
#define TIDE__CHECKPOINT_VERSION 1u

enum tide__section {
    TIDE__SECTION_META = 1,
    TIDE__SECTION_COLUMNS = 2,
    TIDE__SECTION_SERIES = 3,
    TIDE__SECTION_LATE = 4,
    TIDE__SECTION_END = 5,
    TIDE__SECTION_HISTOGRAMS = 6, /* Stands before END; newer than the others. */
};
/* Bytes of a section, from which on it is closed after the item in hand. */
#define TIDE__SECTION_BYTES (1u << 20)

#endif
