# The warnings of every target of the project; errors with MIG_WERROR (as in CI). Members that an
# initializer leaves out are zero, in tables above all: that is no slip.
add_library(mig_warnings INTERFACE)
target_compile_options(mig_warnings INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
  -Wundef -Wcast-qual -Wno-missing-field-initializers
  $<$<BOOL:${MIG_WERROR}>:-Werror>)
