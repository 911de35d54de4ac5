/* The bare loops that ci/bench measures by: each prints its figures as one line of JSON.
 * Not installed. Candidate and bound of a pair are taken in turns, so that both see the same
 * machine. */
#include "tests/bench/loops.h"

#include "libmigrate/transform/transform.h"
#include "libmigrate/work/work.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <secp256k1_recovery.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 256

double bench_now(clockid_t clock)
{
    struct timespec time;

    clock_gettime(clock, &time);
    return (double) time.tv_sec + (double) time.tv_nsec * 1e-9;
}

void bench_die(const char *what, const char *why)
{
    fprintf(stderr, "bench_loops: %s: %s\n", what, why);
    exit(1);
}

/* ---- signing and recovering on all cores, by libsecp256k1 alone ----------------------------- */

struct curve_job {
    const secp256k1_context *context;
    uint64_t count;
    bool recover;
    pthread_t thread;
};

static const uint8_t private_key[32] = {[0] = 0x42, [31] = 0x07};

static void *work_on_curve(void *argument)
{
    const struct curve_job *job = argument;
    secp256k1_ecdsa_recoverable_signature signature;
    uint8_t digest[32] = {1}, bytes[64];
    int recovery = 0, done = 1;

    done &=
        secp256k1_ecdsa_sign_recoverable(job->context, &signature, digest, private_key, NULL, NULL);
    for (uint64_t i = 0; i < job->count; i++) {
        if (job->recover) {
            secp256k1_pubkey key;

            done &= secp256k1_ecdsa_recover(job->context, &key, &signature, digest);
            continue;
        }
        memcpy(digest, &i, sizeof i);
        done &= secp256k1_ecdsa_sign_recoverable(job->context, &signature, digest, private_key,
                                                 NULL, NULL);
        secp256k1_ecdsa_recoverable_signature_serialize_compact(job->context, bytes, &recovery,
                                                                &signature);
    }
    if (!done)
        bench_die("curve", "libsecp256k1 refused");
    return NULL;
}

/* Seconds that count operations take when the threads share them out. */
static double run_on_curve(uint64_t count, unsigned threads, bool recover)
{
    secp256k1_context *context =
        secp256k1_context_create(SECP256K1_CONTEXT_SIGN | SECP256K1_CONTEXT_VERIFY);
    struct curve_job jobs[THREADS_MAX];
    double begun = bench_now(CLOCK_MONOTONIC);

    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct curve_job){.context = context,
                                     .count = count * (i + 1) / threads - count * i / threads,
                                     .recover = recover};
        if (pthread_create(&jobs[i].thread, NULL, work_on_curve, &jobs[i]) != 0)
            bench_die("curve", "no thread");
    }
    for (unsigned i = 0; i < threads; i++)
        pthread_join(jobs[i].thread, NULL);
    begun = bench_now(CLOCK_MONOTONIC) - begun;
    secp256k1_context_destroy(context);
    return begun;
}

static void curve(uint64_t count, unsigned threads, bool recover)
{
    const double cpu = bench_now(CLOCK_PROCESS_CPUTIME_ID);
    const double seconds = run_on_curve(count, threads, recover);

    printf("{\"seconds\": %.6f, \"cpu\": %.6f}\n", seconds,
           bench_now(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

/* ---- hashing, by OpenSSL alone --------------------------------------------------------------- */

/* Seconds that a core takes for so many digests. SHA3-256 is keccak-256 with another padding. */
static double hash(uint64_t size, uint64_t rounds)
{
    uint8_t *bytes = calloc(size + 1, 1), digest[MIG_DIGEST_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_MD *md = EVP_MD_fetch(NULL, "SHA3-256", NULL);
    double seconds = bench_now(CLOCK_THREAD_CPUTIME_ID);

    if (!bytes || !context || !md)
        bench_die("hash", "out of memory");
    for (uint64_t i = 0; i < rounds; i++)
        if (EVP_DigestInit_ex(context, md, NULL) != 1 ||
            EVP_DigestUpdate(context, bytes, size) != 1 ||
            EVP_DigestFinal_ex(context, digest, NULL) != 1)
            bench_die("hash", "OpenSSL refused");
    seconds = bench_now(CLOCK_THREAD_CPUTIME_ID) - seconds;
    EVP_MD_free(md);
    EVP_MD_CTX_free(context);
    free(bytes);
    return seconds;
}

/* ---- transform: all rows of a bundle, through the library ------------------------------------ */

struct transform_job {
    struct mig_transform *transform;
    struct mig_part **parts; /* all of the bundle, in memory */
    size_t part_count, taken;
    struct mig_arena *scratch; /* one a thread */
    uint64_t rows, signed_rows, digested_bytes;
};

static void check(int result, const struct mig_error *err)
{
    if (result != MIG_OK)
        bench_die("transform", err->message);
}

static void read_parts(struct transform_job *job, const char *path)
{
    mig_cleanup(mig_bundle_reader_free) struct mig_bundle_reader *reader = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    struct mig_part *part = NULL;

    check(mig_bundle_open(path, false, &reader, &err), &err);
    for (;;) {
        check(mig_bundle_next(reader, &part, NULL, &err), &err);
        if (!part)
            return;
        job->parts = reallocarray(job->parts, job->part_count + 1, sizeof *job->parts);
        if (!job->parts)
            bench_die("transform", "out of memory");
        job->parts[job->part_count++] = part;
    }
}

static int take_part(void *context, void **ret_item, struct mig_error *err)
{
    struct transform_job *job = context;

    (void) err;
    *ret_item = job->taken < job->part_count ? job->parts[job->taken++] : NULL;
    return MIG_OK;
}

static int transform_part(void *context, unsigned worker, void *item, struct mig_error *err)
{
    struct transform_job *job = context;

    return mig_transform_part(job->transform, &job->scratch[worker], item, err);
}

static int count_part(void *context, void **item, struct mig_error *err)
{
    struct transform_job *job = context;
    mig_cleanup(mig_part_free) struct mig_part *part = mig_take(*item);

    (void) err;
    job->rows += part->row_count;
    for (size_t i = 0; i < part->row_count; i++)
        if (part->envelopes[i].route == MIG_ROUTE_NODE) {
            job->signed_rows++;
            job->digested_bytes += 2 * part->envelopes[i].originator_envelope.size;
        }
    return MIG_OK;
}

static void discard_part(void *item)
{
    struct mig_part *part = item;

    mig_part_free(&part);
}

/* As a run does it; reading the bundle is not part of it. */
static double transform_all(struct transform_job *job, unsigned threads)
{
    static const struct mig_line line = {take_part, transform_part, count_part, discard_part, NULL};
    struct mig_error err = MIG_ERROR_INIT;
    double begun;

    job->scratch = calloc(threads, sizeof *job->scratch);
    if (!job->scratch)
        bench_die("transform", "out of memory");
    begun = bench_now(CLOCK_MONOTONIC);
    check(mig_line_run(&line, threads, job, &err), &err);
    begun = bench_now(CLOCK_MONOTONIC) - begun;
    for (unsigned i = 0; i < threads; i++)
        mig_arena_release(&job->scratch[i]);
    free(job->scratch);
    free(job->parts);
    return begun;
}

static void transform(const char *manifest_path, const char *bundle, unsigned threads)
{
    mig_cleanup(mig_manifest_free) struct mig_manifest *manifest = NULL;
    mig_cleanup(mig_signer_free) struct mig_signer *payer = NULL;
    mig_cleanup(mig_signer_free) struct mig_signer *originator = NULL;
    mig_cleanup(mig_transform_free) struct mig_transform *opened = NULL;
    struct mig_error err = MIG_ERROR_INIT;
    struct transform_job job = {0};
    double seconds, bound, digests;

    check(mig_manifest_load(manifest_path, &manifest, NULL, &err), &err);
    check(mig_manifest_signers(manifest, NULL, &payer, &originator, &err), &err);
    check(mig_transform_open(manifest, mig_time_now_ns(), payer, originator, &opened, &err), &err);
    job.transform = opened;
    read_parts(&job, bundle);
    seconds = transform_all(&job, mig_thread_count(threads));
    bound = run_on_curve(2 * job.signed_rows, threads, false);
    digests = 0;
    if (job.signed_rows > 0)
        digests = hash(job.digested_bytes / (2 * job.signed_rows), 2 * job.signed_rows) / threads;
    printf("{\"seconds\": %.6f, \"bound_seconds\": %.6f, \"digest_seconds\": %.6f"
           ", \"rows\": %" PRIu64 ", \"signed_rows\": %" PRIu64 "}\n",
           seconds, bound, digests, job.rows, job.signed_rows);
}

/* ---- keccak and a loop of nothing but arithmetic --------------------------------------------- */

#define SIDE_BY_SIDE 64

static void keccak(uint64_t size, uint64_t rounds)
{
    uint8_t *bytes = calloc(size, 1), digest[MIG_DIGEST_SIZE];
    struct mig_message messages[SIDE_BY_SIDE];
    double one = bench_now(CLOCK_THREAD_CPUTIME_ID), many;

    if (!bytes)
        bench_die("keccak", "out of memory");
    for (uint64_t i = 0; i < rounds; i++)
        mig_keccak256(&(struct mig_bytes){bytes, size}, 1, digest);
    one = bench_now(CLOCK_THREAD_CPUTIME_ID) - one;
    for (size_t i = 0; i < SIDE_BY_SIDE; i++)
        messages[i] = (struct mig_message){.body = {bytes, size}};
    many = bench_now(CLOCK_THREAD_CPUTIME_ID);
    for (uint64_t i = 0; i < rounds; i += SIDE_BY_SIDE)
        mig_keccak256_many(messages, SIDE_BY_SIDE);
    many = bench_now(CLOCK_THREAD_CPUTIME_ID) - many;
    printf("{\"seconds\": %.6f, \"many_seconds\": %.6f, \"bound_seconds\": %.6f}\n", one, many,
           hash(size, rounds));
    free(bytes);
}

/* The same work each time: how much its time differs is the machine's noise. */
static void spin(uint64_t rounds)
{
    const double begun = bench_now(CLOCK_MONOTONIC);
    volatile uint64_t kept;
    uint64_t value = 1;

    for (uint64_t i = 0; i < rounds; i++)
        value = value * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    kept = value;
    (void) kept;
    printf("{\"seconds\": %.6f}\n", bench_now(CLOCK_MONOTONIC) - begun);
}

/* ---- words ----------------------------------------------------------------------------------- */

static uint64_t number(const char *text)
{
    char *end;
    const uint64_t value = strtoull(text, &end, 10);

    if (!*text || *end || value == 0)
        bench_die(text, "a number above 0 is wanted");
    return value;
}

static unsigned threads_of(const char *text)
{
    const uint64_t value = number(text);

    if (value > THREADS_MAX)
        bench_die(text, "too many threads");
    return (unsigned) value;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";

    if (strcmp(verb, "spin") == 0 && argc == 3)
        spin(number(argv[2]));
    else if (strcmp(verb, "keccak") == 0 && argc == 4)
        keccak(number(argv[2]), number(argv[3]));
    else if (strcmp(verb, "sign") == 0 && argc == 4)
        curve(number(argv[2]), threads_of(argv[3]), false);
    else if (strcmp(verb, "recover") == 0 && argc == 4)
        curve(number(argv[2]), threads_of(argv[3]), true);
    else if (strcmp(verb, "transform") == 0 && argc == 5)
        transform(argv[2], argv[3], threads_of(argv[4]));
    else if (strcmp(verb, "load") == 0 && argc == 5)
        bench_load(argv[2], argv[3], threads_of(argv[4]));
    else if (strcmp(verb, "tar") == 0 && argc == 4)
        bench_copy_tar(argv[2], argv[3]);
    else if (strcmp(verb, "usage") == 0 && argc >= 4)
        return bench_usage(argv[2], argv + 3);
    else
        bench_die("usage", "bench_loops spin N | keccak SIZE N | sign N THREADS | recover N THREADS"
                           " | transform MANIFEST BUNDLE THREADS | load MANIFEST BUNDLE THREADS | "
                           "tar IN OUT | usage REPORT"
                           " COMMAND ...");
    return 0;
}
