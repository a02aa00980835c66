# Part of the scripts that become commands, for any POSIX shell. They say what to do with a program that cannot be run:
# `refuse` it.

# The name of a builtin or a function is that of no program; but an applet of busybox is one wherever its shell says so.
finds() { # PATH: PROGRAM
    while [ -n "$1" ]; do
        set -- "${1#*:}" "$2" "${1%%:*}"
        if [ -f "${3:-.}/$2" ] && [ -x "${3:-.}/$2" ]; then return; fi
    done
    [ "$(type "$2" 2>/dev/null)" = "$2 is $2" ]
}

check() { # PROGRAM
    case $1 in
    */*) [ -e "$1" ] || refuse missing; [ -f "$1" ] && [ -x "$1" ] || refuse denied ;;
    *) finds "$PATH:" "$1" || refuse missing ;;
    esac
}
