#include "server_private.h"

#include "tide/base/mem.h"

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool tide__http_decode(struct tide_slice text, bool plus_is_blank, struct tide_buf *out)
{
    uint8_t *to = tide_buf_reserve(out, text.len);
    size_t len = 0;

    if (to == NULL) /* The buffer remembers. */
        return true;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.ptr[i];

        if (c == '%') {
            int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
            int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = (uint8_t)(high * 16 + low);
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        to[len++] = c;
    }
    out->len += len;
    return true;
}

static size_t count_pairs(struct tide_slice text)
{
    size_t count = 1;

    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] == '&';
    return text.len > 0 ? count : 0;
}

/* One name or value onto param_text, which has room and so does not move. */
static bool decode_part(struct tide_http_exchange *x, struct tide_slice part,
                        struct tide_slice *out)
{
    size_t start = x->param_text.len;

    if (!tide__http_decode(part, true, &x->param_text))
        return false;
    *out = (struct tide_slice){x->param_text.ptr + start, x->param_text.len - start};
    return true;
}

static enum tide_err parse(struct tide_http_exchange *x, struct tide_slice text)
{
    while (text.len > 0) {
        const uint8_t *amp = memchr(text.ptr, '&', text.len);
        struct tide_slice pair = {text.ptr, amp != NULL ? (size_t)(amp - text.ptr) : text.len};
        const uint8_t *equals = pair.len > 0 ? memchr(pair.ptr, '=', pair.len) : NULL;
        struct tide_slice name = pair;
        struct tide_slice value = {NULL, 0};
        struct tide__http_param *param = &x->params[x->param_count];

        text.ptr += pair.len + (amp != NULL);
        text.len -= pair.len + (amp != NULL);
        if (pair.len == 0)
            continue;
        if (equals != NULL) {
            name.len = (size_t)(equals - pair.ptr);
            value = (struct tide_slice){equals + 1, pair.len - name.len - 1};
        }
        if (!decode_part(x, name, &param->name) || !decode_part(x, value, &param->value))
            return TIDE_ERR_INVALID;
        x->param_count++;
    }
    return TIDE_OK;
}

static bool is_form(const struct tide_http_exchange *x)
{
    static const char form[] = "application/x-www-form-urlencoded";
    struct tide_slice type = tide_http_header(x, "Content-Type");
    size_t len = sizeof(form) - 1;

    if (strcmp(x->method, "POST") != 0 || type.len < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = type.ptr[i];

        if (c >= 'A' && c <= 'Z')
            c = (uint8_t)(c + 0x20);
        if (c != (uint8_t)form[i])
            return false;
    }
    return type.len == len || type.ptr[len] == ';' || type.ptr[len] == ' ';
}

enum tide_err tide__http_params_parse(struct tide_http_exchange *x)
{
    struct tide_slice form = {NULL, 0};
    size_t count;
    enum tide_err err;

    if (x->body.len > 0 && is_form(x))
        form = tide_buf_view(&x->body);
    count = count_pairs(x->query) + count_pairs(form);
    if (count == 0)
        return TIDE_OK;
    x->params = tide_mem_array(count, sizeof(*x->params));
    if (x->params == NULL || tide_buf_reserve(&x->param_text, x->query.len + form.len) == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = parse(x, x->query);
    if (err == TIDE_OK)
        err = parse(x, form);
    return err;
}

bool tide_http_param_nth(const struct tide_http_exchange *x, const char *name, size_t nth,
                         struct tide_slice *out)
{
    struct tide_slice wanted = tide_slice_str(name);

    for (size_t i = 0; i < x->param_count; i++) {
        if (!tide_slice_eq(x->params[i].name, wanted))
            continue;
        if (nth-- > 0)
            continue;
        *out = x->params[i].value;
        return true;
    }
    return false;
}

bool tide_http_param(const struct tide_http_exchange *x, const char *name, struct tide_slice *out)
{
    return tide_http_param_nth(x, name, 0, out);
}
