/* The part of a BCM2711 that a plain file lacks: levels that follow the registers.
 *
 * RPi.GPIO writes the registers of /dev/gpiomem, which is a file here: GPSET and GPCLR keep the last word written and
 * GPLEV never changes. Preloaded, this stands in front of the library's two functions that write: it calls the
 * library's own, then does to the levels what the chip would do, from the words that the library has written. The
 * library itself is the file that pip built.
 *
 * Not modelled: a second process that writes a set or clear word in the nanoseconds between a write and its reading
 * back here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Offsets in 32-bit words. BCM2711 ARM Peripherals, section 5.2; the last two are ours, past the chip's registers. */
enum { GPFSEL = 0, GPSET = 7, GPCLR = 10, GPLEV = 13, GPPUPPDN = 57, LATCH = 64, WAS_HIGH = 66 };

typedef void (*output_function)(int, int);
typedef void (*setup_function)(int, int, int);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t *registers;
static output_function library_output;
static setup_function library_setup;

static void give_up(const char *why)
{
    fprintf(stderr, "pads: %s\n", why);
    abort();
}

static int find_library(struct dl_phdr_info *info, size_t size, void *found)
{
    (void)size;
    if (info->dlpi_name == NULL || strstr(info->dlpi_name, "/RPi/_GPIO.") == NULL)
        return 0;
    *(void **)found = dlopen(info->dlpi_name, RTLD_LAZY | RTLD_NOLOAD);
    return 1;
}

static void connect_once(void)
{
    void *library = NULL;
    int file;

    if (registers != NULL)
        return;
    dl_iterate_phdr(find_library, &library);
    if (library == NULL)
        give_up("the library is not loaded");
    library_output = (output_function)dlsym(library, "output_gpio");
    library_setup = (setup_function)dlsym(library, "setup_gpio");
    if (library_output == NULL || library_setup == NULL)
        give_up("the library has other functions");
    file = open("/dev/gpiomem", O_RDWR | O_CLOEXEC);
    registers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (registers == MAP_FAILED)
        give_up("/dev/gpiomem cannot be mapped");
    close(file);
}

static void put(uint32_t *words, int pin, int value)
{
    uint32_t bit = 1u << pin % 32;

    if (value)
        __atomic_fetch_or(&words[pin / 32], bit, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(&words[pin / 32], ~bit, __ATOMIC_SEQ_CST);
}

static void settle(uint32_t *page, int pin)
{
    int function = page[GPFSEL + pin / 10] >> pin % 10 * 3 & 7;
    int pulled_up = (page[GPPUPPDN + pin / 16] >> pin % 16 * 2 & 3) == 1;
    int latched = page[LATCH + pin / 32] >> pin % 32 & 1;

    put(&page[GPLEV], pin, function == 1 ? latched : pulled_up);
    if (function == 1 && latched)
        put(&page[WAS_HIGH], pin, 1);
}

void output_gpio(int pin, int value)
{
    uint32_t word;
    int each, bank = pin / 32;

    pthread_mutex_lock(&lock);
    connect_once();
    library_output(pin, value);
    word = registers[(value ? GPSET : GPCLR) + bank];
    for (each = 0; each < 32; each++)
        if (word >> each & 1) {
            put(&registers[LATCH], 32 * bank + each, value);
            settle(registers, 32 * bank + each);
        }
    pthread_mutex_unlock(&lock);
}

void setup_gpio(int pin, int direction, int pull)
{
    pthread_mutex_lock(&lock);
    connect_once();
    library_setup(pin, direction, pull);
    settle(registers, pin);
    pthread_mutex_unlock(&lock);
}

/* For the test, which has the same page mapped: what a sensor does to an input. */
void drive_input(uint32_t *page, int pin, int level)
{
    put(&page[GPLEV], pin, level);
}
