/*
 * fake_disk: see fake_disk.h. A handle is the number of a file, which outlives its name, as on a
 * real disk. This is test code: what it runs out of is a failed CHECK.
 */
#include "tests/sim/fake_disk.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"

static struct fake_names *live_names(struct fake_disk *fake) {
    return &fake->history[fake->pending];
}

static struct fake_name *name_find(struct fake_disk *fake, const char *text) {
    struct fake_names *const names = live_names(fake);
    for (unsigned i = 0; i < names->count; i++) {
        if (strcmp(names->names[i].text, text) == 0) {
            return &names->names[i];
        }
    }
    return NULL;
}

static void name_set(struct fake_disk *fake, const char *text, unsigned file) {
    struct fake_name *name = name_find(fake, text);
    if (name == NULL) {
        CHECK(live_names(fake)->count < FAKE_NAMES_MAX && strlen(text) < FAKE_NAME_SIZE);
        name = &live_names(fake)->names[live_names(fake)->count++];
        memcpy(name->text, text, strlen(text) + 1);
    }
    name->file = file;
}

static void name_drop(struct fake_disk *fake, const char *text) {
    struct fake_name *const name = name_find(fake, text);
    CHECK(name != NULL);
    *name = live_names(fake)->names[--live_names(fake)->count];
}

/* Names are about to change: keep how they were. */
static void names_fork(struct fake_disk *fake) {
    CHECK(fake->pending < FAKE_PENDING_MAX);
    fake->history[fake->pending + 1] = fake->history[fake->pending];
    fake->pending++;
}

static unsigned file_new(struct fake_disk *fake) {
    CHECK(fake->file_count < FAKE_FILES_MAX);
    struct fake_file *const file = &fake->files[fake->file_count];
    buffer_init(&file->live, SIZE_MAX / 2);
    buffer_init(&file->durable, SIZE_MAX / 2);
    return fake->file_count++;
}

static void content_set(struct buffer *to, struct span from) {
    buffer_clear(to);
    CHECK(buffer_append(to, from));
}

static void size_set(struct buffer *buffer, uint64_t size) {
    if (size < buffer->size) {
        buffer->size = (size_t)size;
    } else if (size > buffer->size) {
        size_t const more = (size_t)size - buffer->size;
        uint8_t *const place = buffer_extend(buffer, more);
        CHECK(place != NULL);
        memset(place, 0, more);
    }
}

/* ---- faults ---- */

static int call_enter(struct fake_disk *fake, enum fake_call call) {
    fake->calls[call]++;
    if (fake->off) {
        return -EIO;
    }
    return fake->fail_at[call] == fake->calls[call] ? fake->fail_with[call] : 0;
}

/* Count a change. Returns: whether the power goes with it. */
static bool change_is_last(struct fake_disk *fake) {
    fake->changes++;
    fake->off = fake->changes == fake->power_off_at;
    return fake->off;
}

static uint64_t space_left(const struct fake_disk *fake) {
    uint64_t used = 0;
    const struct fake_names *const names = &fake->history[fake->pending];
    for (unsigned i = 0; i < names->count; i++) {
        used += fake->files[names->names[i].file].live.size;
    }
    return used < fake->capacity ? fake->capacity - used : 0;
}

/* ---- the table ---- */

static int fake_list(void *context, disk_visit *visit, void *argument) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_LIST);
    if (error != 0) {
        return error;
    }
    const struct fake_names *const names = live_names(fake);
    for (unsigned i = names->count; i-- > 0;) {
        if (!visit(argument, names->names[i].text)) {
            break;
        }
    }
    return 0;
}

static int fake_open(void *context, const char *text, enum disk_mode mode) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_OPEN);
    if (error != 0) {
        return error;
    }
    const struct fake_name *const name = name_find(fake, text);
    if (mode != DISK_CREATE) {
        if (name == NULL) {
            return -ENOENT;
        }
        fake->handles++;
        return (int)name->file;
    }
    bool const last = change_is_last(fake);
    unsigned const file = name == NULL ? file_new(fake) : name->file;
    if (name == NULL) {
        names_fork(fake);
        name_set(fake, text, file);
    } else {
        size_set(&fake->files[file].live, 0);
    }
    if (last) {
        return -EIO;
    }
    fake->handles++;
    return (int)file;
}

static void fake_close(void *context, int file) {
    struct fake_disk *const fake = context;
    CHECK(file >= 0 && (unsigned)file < fake->file_count && fake->handles > 0);
    fake->handles--;
}

static struct fake_file *file_of(struct fake_disk *fake, int file) {
    CHECK(file >= 0 && (unsigned)file < fake->file_count);
    return &fake->files[file];
}

static int64_t fake_size(void *context, int file) {
    struct fake_disk *const fake = context;
    return (int64_t)file_of(fake, file)->live.size;
}

static int64_t fake_read_at(void *context, int file, void *out, size_t size, uint64_t offset) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_READ);
    if (error != 0) {
        return error;
    }
    const struct buffer *const live = &file_of(fake, file)->live;
    if (offset >= live->size) {
        return 0;
    }
    size_t count = live->size - (size_t)offset;
    count = count < size ? count : size;
    count = count < fake->read_size_max ? count : fake->read_size_max;
    memcpy(out, live->data + offset, count);
    return (int64_t)count;
}

static void bytes_put(struct buffer *live, struct span bytes, uint64_t offset) {
    if (bytes.size == 0) {
        return;
    }
    if (offset + bytes.size > live->size) {
        size_set(live, offset + bytes.size);
    }
    memcpy(live->data + offset, bytes.data, bytes.size);
}

static int64_t fake_write_at(void *context, int file, const struct span *parts, unsigned part_count,
                             uint64_t offset) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_WRITE);
    if (error != 0) {
        return error;
    }
    bool const last = change_is_last(fake);
    struct buffer *const live = &file_of(fake, file)->live;
    uint64_t const space = space_left(fake);
    size_t room = fake->write_size_max;
    room = space < room ? (size_t)space : room;
    int64_t wrote = 0;
    for (unsigned i = 0; i < part_count && room != 0; i++) {
        size_t const size = parts[i].size < room ? parts[i].size : room;
        bytes_put(live, span_of(parts[i].data, size), offset + (uint64_t)wrote);
        wrote += (int64_t)size;
        room -= size;
    }
    if (last) {
        return -EIO;
    }
    return wrote == 0 ? -ENOSPC : wrote;
}

static int fake_truncate(void *context, int file, uint64_t size) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_TRUNCATE);
    if (error != 0) {
        return error;
    }
    bool const last = change_is_last(fake);
    size_set(&file_of(fake, file)->live, size);
    return last ? -EIO : 0;
}

static int fake_sync(void *context, int file) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_SYNC);
    if (error != 0) {
        return error;
    }
    if (change_is_last(fake)) {
        return -EIO;
    }
    struct fake_file *const fake_file = file_of(fake, file);
    content_set(&fake_file->durable, buffer_span(&fake_file->live));
    return 0;
}

static int fake_sync_directory(void *context) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_SYNC_DIRECTORY);
    if (error != 0) {
        return error;
    }
    if (change_is_last(fake)) {
        return -EIO;
    }
    fake->history[0] = fake->history[fake->pending];
    fake->pending = 0;
    return 0;
}

static int fake_rename(void *context, const char *from, const char *to) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_RENAME);
    if (error != 0) {
        return error;
    }
    const struct fake_name *const name = name_find(fake, from);
    if (name == NULL) {
        return -ENOENT;
    }
    unsigned const file = name->file;
    bool const last = change_is_last(fake);
    names_fork(fake);
    name_drop(fake, from);
    name_set(fake, to, file);
    return last ? -EIO : 0;
}

static int fake_remove(void *context, const char *text) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_REMOVE);
    if (error != 0) {
        return error;
    }
    if (name_find(fake, text) == NULL) {
        return -ENOENT;
    }
    bool const last = change_is_last(fake);
    names_fork(fake);
    name_drop(fake, text);
    return last ? -EIO : 0;
}

/* Both names stand for one file; since nobody writes to it any more, a copy stands for it too. */
static int fake_link_from(void *context, const struct disk *from, const char *text) {
    struct fake_disk *const fake = context;
    int const error = call_enter(fake, FAKE_LINK);
    if (error != 0) {
        return error;
    }
    if (from->link_from != fake_link_from) {
        return -EXDEV;
    }
    struct fake_disk *const other = from->context;
    const struct fake_name *const name = name_find(other, text);
    if (name == NULL) {
        return -ENOENT;
    }
    if (name_find(fake, text) != NULL) {
        return -EEXIST;
    }
    bool const last = change_is_last(fake);
    unsigned const file = file_new(fake);
    content_set(&fake->files[file].live, buffer_span(&other->files[name->file].live));
    content_set(&fake->files[file].durable, buffer_span(&other->files[name->file].durable));
    names_fork(fake);
    name_set(fake, text, file);
    return last ? -EIO : 0;
}

/* ---- for tests ---- */

static void faults_clear(struct fake_disk *fake) {
    memset(fake->calls, 0, sizeof fake->calls);
    memset(fake->fail_at, 0, sizeof fake->fail_at);
    memset(fake->fail_with, 0, sizeof fake->fail_with);
    fake->capacity = UINT64_MAX;
    fake->read_size_max = SIZE_MAX;
    fake->write_size_max = SIZE_MAX;
    fake->changes = 0;
    fake->power_off_at = 0;
    fake->off = false;
}

struct fake_disk *fake_disk_new(void) {
    struct fake_disk *const fake = calloc(1, sizeof *fake);
    CHECK(fake != NULL);
    fake->disk = (struct disk){
        .context = fake,
        .place = "fake",
        .list = fake_list,
        .open = fake_open,
        .close = fake_close,
        .size = fake_size,
        .read_at = fake_read_at,
        .write_at = fake_write_at,
        .truncate = fake_truncate,
        .sync = fake_sync,
        .sync_directory = fake_sync_directory,
        .rename = fake_rename,
        .remove = fake_remove,
        .link_from = fake_link_from,
    };
    faults_clear(fake);
    return fake;
}

void fake_disk_free(struct fake_disk *fake) {
    for (unsigned i = 0; i < fake->file_count; i++) {
        buffer_free(&fake->files[i].live);
        buffer_free(&fake->files[i].durable);
    }
    free(fake);
}

static void file_crash(struct fake_file *file, const struct fake_crash *crash) {
    struct buffer *const live = &file->live;
    struct buffer *const durable = &file->durable;
    size_t common = 0;
    while (common < live->size && common < durable->size &&
           live->data[common] == durable->data[common]) {
        common++;
    }
    if (crash->unsynced_kept == 0 && !crash->rest_zeroed) {
        content_set(live, buffer_span(durable));
    } else if (live->size - common > crash->unsynced_kept) {
        size_t const kept = common + (size_t)crash->unsynced_kept;
        size_t const size = live->size;
        live->size = kept;
        if (crash->rest_zeroed) {
            size_set(live, size);
        }
    }
    content_set(durable, buffer_span(live));
}

void fake_disk_crash(struct fake_disk *fake, const struct fake_crash *crash) {
    unsigned const kept = crash->names_kept < fake->pending ? crash->names_kept : fake->pending;
    fake->history[0] = fake->history[kept];
    fake->pending = 0;
    fake->handles = 0;
    for (unsigned i = 0; i < fake->file_count; i++) {
        file_crash(&fake->files[i], crash);
    }
    faults_clear(fake);
}

struct buffer *fake_disk_content(struct fake_disk *fake, const char *name) {
    const struct fake_name *const found = name_find(fake, name);
    return found == NULL ? NULL : &fake->files[found->file].live;
}

void fake_disk_put(struct fake_disk *fake, const char *name, struct span content) {
    unsigned const file = file_new(fake);
    content_set(&fake->files[file].live, content);
    content_set(&fake->files[file].durable, content);
    name_set(fake, name, file);
    fake->history[0] = fake->history[fake->pending];
    fake->pending = 0;
}

struct fake_disk *fake_disk_clone(const struct fake_disk *fake) {
    struct fake_disk *const copy = fake_disk_new();
    const struct fake_names *const names = &fake->history[fake->pending];
    for (unsigned i = 0; i < names->count; i++) {
        const struct fake_name *const name = &names->names[i];
        fake_disk_put(copy, name->text, buffer_span(&fake->files[name->file].live));
    }
    return copy;
}
