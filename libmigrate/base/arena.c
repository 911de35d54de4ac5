/* Memory that lives and dies together: blocks in a chain, handed out from the newest. */
#include "libmigrate/base/base.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_SIZE ((size_t) 64 << 10)

struct mig_arena_block {
    struct mig_arena_block *older;
    size_t used, capacity;
    _Alignas(max_align_t) uint8_t bytes[];
};

static struct mig_arena_block *add_block(struct mig_arena *arena, size_t size)
{
    const size_t capacity = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    struct mig_arena_block *block = malloc(sizeof *block + capacity);

    if (!block)
        return NULL;
    block->used = 0;
    block->capacity = capacity;
    /* A block for one large piece has no room left: it goes behind the one still in use. */
    if (arena->blocks && size > BLOCK_SIZE) {
        block->older = arena->blocks->older;
        arena->blocks->older = block;
    } else {
        block->older = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

int mig_arena_alloc(struct mig_arena *arena, size_t size, void **ret_memory, struct mig_error *err)
{
    const size_t align = _Alignof(max_align_t);
    struct mig_arena_block *block = arena->blocks;
    size_t rounded;

    if (size > SIZE_MAX / 2)
        return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu bytes", size);
    rounded = (size + align - 1) / align * align;
    if (!block || block->capacity - block->used < rounded)
        block = add_block(arena, rounded);
    if (!block)
        return mig_fail(err, MIG_E_NOMEM, "cannot hold %zu bytes: out of memory", size);
    *ret_memory = block->bytes + block->used;
    block->used += rounded;
    arena->used_bytes += rounded;
    return MIG_OK;
}

int mig_arena_copy(struct mig_arena *arena, struct mig_bytes bytes, struct mig_bytes *ret_copy,
                   struct mig_error *err)
{
    void *memory;
    int result = mig_arena_alloc(arena, bytes.size, &memory, err);

    if (result != MIG_OK)
        return result;
    if (bytes.size > 0)
        memcpy(memory, bytes.data, bytes.size);
    *ret_copy = (struct mig_bytes){memory, bytes.size};
    return MIG_OK;
}

void mig_arena_release(struct mig_arena *arena)
{
    for (struct mig_arena_block *block = arena->blocks, *older; block; block = older) {
        older = block->older;
        free(block);
    }
    *arena = MIG_ARENA_INIT;
}

void mig_arena_reset(struct mig_arena *arena)
{
    struct mig_arena_block *kept = NULL;

    for (struct mig_arena_block *block = arena->blocks, *older; block; block = older) {
        older = block->older;
        if (kept || block->capacity > BLOCK_SIZE)
            free(block);
        else
            kept = block;
    }
    if (kept) {
        kept->older = NULL;
        kept->used = 0;
    }
    *arena = (struct mig_arena){.blocks = kept};
}

void mig_arena_join(struct mig_arena *arena, struct mig_arena *from)
{
    struct mig_arena_block **last = &arena->blocks;

    while (*last)
        last = &(*last)->older;
    *last = from->blocks;
    arena->used_bytes += from->used_bytes;
    *from = MIG_ARENA_INIT;
}
