/*
 * io: files that are whole or absent, digests, and streams of bytes.
 */
#ifndef MIG_IO_H
#define MIG_IO_H

#include "libmigrate/base/base.h"

#define MIG_SHA256_SIZE 32
#define MIG_SHA256_TEXT_SIZE 65

/* SHA-256 of the pieces one after another. Errors: MIG_E_NOMEM. */
int mig_sha256(const struct mig_bytes *pieces, size_t count, uint8_t ret_digest[MIG_SHA256_SIZE],
               struct mig_error *err);

/* Reads a whole regular file of at most limit bytes; the text has a NUL behind size that does not
 * count. ret_mode may be NULL (st_mode, for judging who else can read it). The caller frees
 * *ret_data. Errors: MIG_E_IO (quoting the path), MIG_E_NOMEM (larger than limit). */
int mig_file_read(const char *path, size_t limit, uint8_t **ret_data, size_t *ret_size,
                  unsigned *ret_mode, struct mig_error *err);

/* Writes path whole or not at all: a temporary file beside it, fsync, rename, fsync of the folder.
 * Errors: MIG_E_IO; then path is as it was. */
int mig_file_write(const char *path, struct mig_bytes bytes, struct mig_error *err);

/* A file on the disk of folder to be written and read again, unlinked already: gone when it is
 * closed, however the process ends. The name it had is for messages, and the caller's to free.
 * Errors: MIG_E_IO, MIG_E_NOMEM. */
int mig_file_open_unlinked(const char *folder, int *ret_fd, char **ret_name, struct mig_error *err);

/* Makes a folder and its parents; an existing one is fine. Errors: MIG_E_IO. */
int mig_folder_make(const char *path, struct mig_error *err);

/* The folder that path, with or without a slash at its end, lies in; "." for a bare name. The
 * caller frees it. NULL when out of memory. */
char *mig_folder_of(const char *path);

/* Makes what was renamed or removed at path durable: fsync of the folder that path lies in.
 * Errors: MIG_E_IO. */
int mig_folder_sync(const char *path, struct mig_error *err);

/* Writes all of the bytes to a descriptor, however many calls it takes. name is for the message.
 * A closed pipe is MIG_E_IO when the process ignores SIGPIPE. Errors: MIG_E_IO. */
int mig_fd_write(int fd, const char *name, struct mig_bytes bytes, struct mig_error *err);

/* Reads exactly size bytes from offset on. Errors: MIG_E_IO, also when the file ends before. */
int mig_fd_read_at(int fd, const char *name, uint64_t offset, void *memory, size_t size,
                   struct mig_error *err);

/* For mig_cleanup(mig_fd_close) int fd = -1; closes it unless negative. */
void mig_fd_close(int *fd);

#endif
