/* Instants: RFC 3339 text and nanoseconds since 1970, by the proleptic Gregorian calendar. */
#include "libmigrate/base/base.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECONDS_PER_DAY INT64_C(86400)

/* Days since 1970-01-01; years are counted from March, so that a leap day ends one. */
static int64_t days_from_date(int64_t year, int month, int day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t year_of_era = y - era * 400;
    const int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year -
           719468;
}

static void date_from_days(int64_t days, int64_t *year, int *month, int *day)
{
    const int64_t z = days + 719468;
    const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const int64_t day_of_era = z - era * 146097;
    const int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    const int64_t day_of_year =
        day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const int64_t shifted = (5 * day_of_year + 2) / 153;

    *day = (int) (day_of_year - (153 * shifted + 2) / 5 + 1);
    *month = (int) (shifted < 10 ? shifted + 3 : shifted - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return month == 2 && leap ? 29 : days[month - 1];
}

/* Reads exactly count digits. */
static bool take_digits(const char **text, int count, int *ret_value)
{
    int value = 0;

    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        value = value * 10 + (**text - '0');
    }
    *ret_value = value;
    return true;
}

static bool take_char(const char **text, const char *either)
{
    if (**text == '\0' || !strchr(either, **text))
        return false;
    (*text)++;
    return true;
}

/* ".5" to nine digits; more would be lost. */
static bool take_fraction(const char **text, int64_t *ret_ns)
{
    int64_t ns = 0;
    int digits = 0;

    if (!take_char(text, ".")) {
        *ret_ns = 0;
        return true;
    }
    for (; **text >= '0' && **text <= '9' && digits < 9; (*text)++, digits++)
        ns = ns * 10 + (**text - '0');
    if (digits == 0)
        return false;
    for (; digits < 9; digits++)
        ns *= 10;
    *ret_ns = ns;
    return true;
}

static bool take_offset(const char **text, int64_t *ret_seconds)
{
    int hours, minutes;
    bool negative;

    if (take_char(text, "Zz")) {
        *ret_seconds = 0;
        return true;
    }
    negative = **text == '-';
    if (!take_char(text, "+-") || !take_digits(text, 2, &hours) || !take_char(text, ":") ||
        !take_digits(text, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = (hours * 60 + minutes) * INT64_C(60) * (negative ? -1 : 1);
    return true;
}

static bool parse(const char *text, int64_t *ret_ns)
{
    int year, month, day, hour, minute, second;
    int64_t fraction, offset, seconds, ns;

    if (!take_digits(&text, 4, &year) || !take_char(&text, "-") || !take_digits(&text, 2, &month) ||
        !take_char(&text, "-") || !take_digits(&text, 2, &day) || !take_char(&text, "Tt ") ||
        !take_digits(&text, 2, &hour) || !take_char(&text, ":") ||
        !take_digits(&text, 2, &minute) || !take_char(&text, ":") ||
        !take_digits(&text, 2, &second) || !take_fraction(&text, &fraction) ||
        !take_offset(&text, &offset) || *text != '\0')
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month) || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    seconds = days_from_date(year, month, day) * SECONDS_PER_DAY + hour * INT64_C(3600) +
              minute * INT64_C(60) + second - offset;
    if (__builtin_mul_overflow(seconds, MIG_NS_PER_SECOND, &ns) ||
        __builtin_add_overflow(ns, fraction, &ns))
        return false;
    *ret_ns = ns;
    return true;
}

int mig_time_parse(const char *text, int64_t *ret_ns, struct mig_error *err)
{
    if (parse(text, ret_ns))
        return MIG_OK;
    mig_fail(err, MIG_E_USAGE, "'%.60s' is not an instant as RFC 3339 writes it", text);
    return mig_hint(err, "write it like 2026-01-31T12:00:00Z");
}

/* "2026-01-31T12:00:00"; gives its length. */
static int format_second(int64_t unix_seconds, char ret_text[MIG_TIME_TEXT_SIZE])
{
    int64_t days = unix_seconds / SECONDS_PER_DAY, year;
    int second_of_day = (int) (unix_seconds % SECONDS_PER_DAY), month, day;

    if (second_of_day < 0) {
        second_of_day += (int) SECONDS_PER_DAY;
        days--;
    }
    date_from_days(days, &year, &month, &day);
    return snprintf(ret_text, MIG_TIME_TEXT_SIZE,
                    year < 0 || year > 9999 ? "%+05lld-%02d-%02dT%02d:%02d:%02d"
                                            : "%04lld-%02d-%02dT%02d:%02d:%02d",
                    (long long) year, month, day, second_of_day / 3600, second_of_day / 60 % 60,
                    second_of_day % 60);
}

void mig_time_format(int64_t unix_ns, char ret_text[MIG_TIME_TEXT_SIZE])
{
    int64_t seconds = unix_ns / MIG_NS_PER_SECOND;
    int ns = (int) (unix_ns % MIG_NS_PER_SECOND), digits = 9, length;

    if (ns < 0) {
        ns += (int) MIG_NS_PER_SECOND;
        seconds--;
    }
    length = format_second(seconds, ret_text);
    for (; digits > 0 && ns % 1000 == 0; digits -= 3)
        ns /= 1000;
    if (digits > 0)
        length +=
            snprintf(ret_text + length, MIG_TIME_TEXT_SIZE - (size_t) length, ".%0*d", digits, ns);
    snprintf(ret_text + length, MIG_TIME_TEXT_SIZE - (size_t) length, "Z");
}

void mig_time_format_us(int64_t unix_seconds, int32_t microseconds,
                        char ret_text[MIG_TIME_TEXT_SIZE])
{
    const int length = format_second(unix_seconds, ret_text);

    snprintf(ret_text + length, MIG_TIME_TEXT_SIZE - (size_t) length, ".%06dZ", microseconds);
}

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (int64_t) now.tv_sec * MIG_NS_PER_SECOND + now.tv_nsec;
}

int64_t mig_time_now_ns(void)
{
    return clock_ns(CLOCK_REALTIME);
}

int64_t mig_time_monotonic_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}
