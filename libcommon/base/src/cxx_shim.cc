#include "cxx_shim_private.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <re2/re2.h>

static const RE2 *cast(const void *re2)
{
    return static_cast<const RE2 *>(re2);
}

tide__re2_result tide__re2_new(const char *pattern, size_t len, void **out, char *error)
{
    try {
        RE2::Options options;

        options.set_log_errors(false);
        options.set_dot_nl(true);
        options.set_max_mem(TIDE__RE2_BYTES_MAX);
        auto re2 = std::make_unique<RE2>(re2::StringPiece(pattern, len), options);
        if (!re2->ok()) {
            size_t error_len = std::min<size_t>(re2->error().size(), TIDE__RE2_ERROR_BYTES - 1);

            memcpy(error, re2->error().data(), error_len);
            error[error_len] = '\0';
            return TIDE__RE2_BAD_PATTERN;
        }
        *out = re2.release();
        return TIDE__RE2_OK;
    } catch (...) {
        return TIDE__RE2_NO_MEMORY;
    }
}

void tide__re2_free(void *re2)
{
    delete static_cast<RE2 *>(re2);
}

bool tide__re2_match(const void *re2, const char *text, size_t len)
{
    try {
        return cast(re2)->Match(re2::StringPiece(text, len), 0, len, RE2::ANCHOR_BOTH, nullptr, 0);
    } catch (...) {
        return false;
    }
}

bool tide__re2_match_groups(const void *re2, const char *text, size_t len, tide__re2_text *groups,
                            int group_max)
{
    try {
        std::vector<re2::StringPiece> pieces(static_cast<size_t>(group_max));

        if (!cast(re2)->Match(re2::StringPiece(text, len), 0, len, RE2::ANCHOR_BOTH, pieces.data(),
                              group_max))
            return false;
        for (int i = 0; i < group_max; i++)
            groups[i] = {pieces[static_cast<size_t>(i)].data(),
                         pieces[static_cast<size_t>(i)].size()};
        return true;
    } catch (...) {
        return false;
    }
}

int tide__re2_group_count(const void *re2)
{
    return cast(re2)->NumberOfCapturingGroups();
}

int tide__re2_group_index(const void *re2, const char *name, size_t len)
{
    try {
        const std::map<std::string, int> &groups = cast(re2)->NamedCapturingGroups();
        auto found = groups.find(std::string(name, len));

        return found == groups.end() ? -1 : found->second;
    } catch (...) {
        return -1;
    }
}

bool tide__re2_range(const void *re2, char *low, size_t *low_len, char *high, size_t *high_len)
{
    try {
        /* RE2 tells bounds only of patterns that say themselves that they are anchored. Nobody but
         * an index scan asks, so that the second program is not kept. */
        RE2 anchored("^(?:" + cast(re2)->pattern() + ")$", cast(re2)->options());
        std::string min;
        std::string max;

        if (!anchored.ok() || !anchored.PossibleMatchRange(&min, &max, TIDE__RE2_RANGE_BYTES_MAX))
            return false;
        if (min.size() > TIDE__RE2_RANGE_BYTES_MAX || max.size() > TIDE__RE2_RANGE_BYTES_MAX)
            return false;
        memcpy(low, min.data(), min.size());
        memcpy(high, max.data(), max.size());
        *low_len = min.size();
        *high_len = max.size();
        return true;
    } catch (...) {
        return false;
    }
}

size_t tide__double_to_text(double v, char *text)
{
    return static_cast<size_t>(
        std::to_chars(text, text + 32, v, std::chars_format::scientific).ptr - text);
}

tide__double_result tide__double_from_text(const char *text, size_t len, double *out)
{
    std::from_chars_result result = std::from_chars(text, text + len, *out);

    if (result.ptr != text + len)
        return TIDE__DOUBLE_BAD;
    if (result.ec == std::errc::result_out_of_range)
        return TIDE__DOUBLE_OUT_OF_RANGE;
    return result.ec == std::errc() ? TIDE__DOUBLE_OK : TIDE__DOUBLE_BAD;
}
