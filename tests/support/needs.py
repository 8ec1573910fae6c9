"""What a test needs of its host: where that is missing, the last line it writes says so, and it is skipped."""
import os
import shutil

SKIPPED = 77  # exit status, as ctest knows it


def has_kvm():
    """Whether machines can run here; says so if not."""
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        return True
    print("there is no /dev/kvm that we may use")
    return False


def has_program(name):
    """Whether @name is installed; says so if not."""
    if shutil.which(name):
        return True
    print(f"{name} is not installed")
    return False
