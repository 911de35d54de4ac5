/*
 * Fault points: where a test lets the process die, or a call fail, at the Nth time it gets there.
 *
 * They exist in a build with MIG_FAULT_POINTS alone; in every other the macros leave nothing
 * behind. MIG_FAULT=EVENT:N:ACTION in the environment says what happens at the Nth of an event,
 * counted over all threads; N+ means every one from there on. ACTION is kill (SIGKILL), fail (as
 * the system or the library fails: a lost connection, EIO, no memory), refuse (libpq's call fails,
 * as without memory, and the connection stays), enospc, or short (half of a write).
 * MIG_FAULT_COUNTS names a file that gets the counts of all events when the process ends by itself.
 */
#ifndef MIG_FAULT_H
#define MIG_FAULT_H

#ifdef MIG_FAULT_POINTS

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum mig_fault {
    MIG_FAULT_CONNECT,         /* a connection to a server is begun */
    MIG_FAULT_QUERY,           /* a statement is sent */
    MIG_FAULT_RECEIVED,        /* bytes of a server are taken in */
    MIG_FAULT_COPY_SENT,       /* a piece of a COPY is sent, or its end */
    MIG_FAULT_COPY_RECEIVED,   /* a row of a COPY has come */
    MIG_FAULT_COMMIT_SENT,     /* a COMMIT is with the system, its answer is not there */
    MIG_FAULT_COMMIT_ANSWERED, /* a COMMIT was answered */
    MIG_FAULT_WRITE,           /* bytes are written to a file; kill comes in the middle of them */
    MIG_FAULT_FSYNC,           /* a file or a folder is made durable */
    MIG_FAULT_RENAME,          /* a file gets its name */
    MIG_FAULT_HANDOVER,        /* an item goes from one thread to another */
    MIG_FAULT_ALLOC,           /* memory is asked for */
    MIG_FAULT_COUNT,
};

/* Counts the event. Whether the call that follows is to fail; errno says how. Any thread. */
bool mig_fault_met(enum mig_fault event);
/* The same; unless the call is refused, the connection is cut first. */
bool mig_fault_cut(enum mig_fault event, int socket);
/* write(2), with its faults. */
ssize_t mig_fault_write(int fd, const void *bytes, size_t size);

#define MIG_FAULT(event) mig_fault_met(MIG_FAULT_##event)
#define MIG_FAULT_CUT(event, socket) mig_fault_cut(MIG_FAULT_##event, socket)
#define MIG_WRITE(fd, bytes, size) mig_fault_write(fd, bytes, size)

#else

#define MIG_FAULT(event) false
#define MIG_FAULT_CUT(event, socket) false
#define MIG_WRITE(fd, bytes, size) write(fd, bytes, size)

#endif
#endif
