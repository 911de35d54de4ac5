/* One signer under many threads: a plain program, so that ThreadSanitizer can watch it. */
#include "libmigrate/sign/sign.h"
#include "tests/thread/expect.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PEOPLE 4
#define DIGESTS 200

/* All sign the same digests: whoever disturbs another changes a signature. */
static void *sign_all(void *context)
{
    const struct mig_signer *signer = context;
    uint8_t(*signatures)[MIG_SIGNATURE_SIZE] = calloc(DIGESTS, sizeof *signatures);

    expect(signatures != NULL, "memory");
    for (int i = 0; i < DIGESTS; i++) {
        const uint8_t digest[MIG_DIGEST_SIZE] = {1, (uint8_t) i};
        struct mig_address address;

        expect(mig_sign(signer, digest, signatures[i], NULL) == MIG_OK, "sign");
        expect(mig_recover(digest, signatures[i], &address, NULL) == MIG_OK, "recover");
        expect(mig_address_equal(&address, mig_signer_address(signer)), "the signer's address");
    }
    return signatures;
}

int main(void)
{
    static const char key[] = "0x1111111111111111111111111111111111111111111111111111111111111111";
    mig_cleanup(mig_signer_free) struct mig_signer *signer = NULL;
    pthread_t people[PEOPLE];
    void *first = NULL;

    expect(mig_signer_open(key, strlen(key), &signer, NULL) == MIG_OK, "open");
    for (int i = 0; i < PEOPLE; i++)
        expect(pthread_create(&people[i], NULL, sign_all, signer) == 0, "start");
    for (int i = 0; i < PEOPLE; i++) {
        void *signatures = NULL;

        expect(pthread_join(people[i], &signatures) == 0, "join");
        if (first)
            expect(memcmp(first, signatures, DIGESTS * MIG_SIGNATURE_SIZE) == 0, "same bytes");
        else
            first = mig_take(signatures);
        free(signatures);
    }
    free(first);
    return 0;
}
