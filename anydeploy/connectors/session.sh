# The script of a session, for any POSIX shell. Arguments: the name of its directory; seconds of grace at the end; a mark
# that its first report begins with. Orders come on stdin, a line each; reports go to stdout. session.py says what both are.

LC_ALL=C
export LC_ALL
umask 077
name=$1 grace=$2 mark=$3

# It is one process from here to its end, so that no signal finds it without a way to clean up.
d=
trap 'trap "" HUP TERM; rm -rf "$d"; exit 1' HUP TERM
trap '' INT QUIT PIPE

# Groups are signalled by `kill -NAME -GROUP`: the shells do not agree on where there may be a `--`.
has() { command -v "$1" >/dev/null 2>&1; }
setsid=$(command -v setsid)
# Not that of another namespace.
read -r pid _ 2>/dev/null </proc/self/stat && [ "$pid" = $$ ] && [ -r /proc/self/environ ] && has grep && proc=proc || proc=
sleep 0.01 2>/dev/null && short=0.01 long=0.1 ticks=10 || short=1 long=1 ticks=1
tar=$(tar --version 2>&1 | head -n 1)
case $tar in *GNU*) tar=gnu ;; *bsdtar*) tar=bsd ;; *[Bb]usy[Bb]ox*) tar=busybox ;; *) tar=$(has tar && echo other) ;; esac

# The words of which a command's text consists, beside what makes it: it becomes a command once it has `begun`.
words=$(cat <<\END
report() { echo "$1 $t" 1<>"$d/reports"; }
refuse() { report "$1"; exit; }
@check.sh
@variables.sh
begun() {
    : >"$d/$t.begun"
    echo "begun $t $pid" 1<>"$d/reports"
    give_back
}
become() {
    echo "$1" >"$d/$t.pid" || refuse full
    [ ! -e "$d/stop" ] && [ ! -e "$d/$t.stop" ] || refuse never
    export "ANYDEPLOY_COMMAND=$name-$t."
    . "$d/$t.command"
}
set_aside d name setsid proc t pid group
END
)

# Starts one command, whose token is $1, and stays beside it. $2: the streams that are framed by marks.
write_run() {
    echo "$words" && echo "d=$d name=$name setsid=$setsid proc=$proc" && cat <<\END
t=$1
trap : HUP INT QUIT PIPE TERM USR1 USR2
frame() {
    case $1 in *o*) printf '\033\001%s-%s\002\n' "$name" "$t" ;; esac
    case $1 in *e*) printf '\033\001%s-%s\002\n' "$name" "$t" >&3 ;; esac
}
# A shell says of a command that it was killed; that is no output of the command.
exec 3>&2 2>/dev/null
if [ ! -e "$d/$t.ready" ]; then
    mkfifo "$d/$t.wait" && exec 5<>"$d/$t.wait" || exit
    while [ ! -e "$d/$t.ready" ] && [ -e "$d/run" ] && [ ! -e "$d/stop" ]; do read -r _ <&5; done
    exec 5<&-
fi
# A client that carries one stream only leaves the others to FIFOs.
[ ! -p "$d/$t.in" ] || [ -e "$d/$t.stop" ] || exec <"$d/$t.in"
[ ! -p "$d/$t.err" ] || [ -e "$d/$t.stop" ] || exec 3>"$d/$t.err"
frame "$2"
if [ -n "$setsid" ] && [ -n "$proc" ]; then
    (
        read -r pid _ </proc/self/stat
        become "-$pid"
    ) 2>&3 3>&-
else
    group=
    if [ -z "$setsid" ] && kill -0 "-$$" 2>/dev/null; then group=-$$; fi
    (
        set -- $setsid sh "$d/start" "$t" "$setsid" "$group"
        give_back
        exec "$@"
    ) 2>&3 3>&-
fi
status=$?
if [ -e "$d/$t.begun" ] && [ -p "$d/reports" ]; then
    left=
    # A number that is not in use any more may soon be that of others.
    if read -r pid <"$d/$t.pid" && kill -0 "$pid" 2>/dev/null; then left=left; else : >"$d/$t.pid"; fi
    echo "ended $t $status $left" 1<>"$d/reports"
fi
frame "$2"
exit 0
END
}

# Becomes the command whose token is $1, where the number of a subshell cannot be known.
write_start() {
    echo "$words" && echo "d=$d name=$name" && cat <<\END
t=$1 pid=$$
if [ -n "$2" ]; then become "-$$"; else become "${3:-$$}"; fi
END
}

# The commands of a client name the directory in plain words, which no shell on the way interprets. It is one that takes
# all of its files, and some more: what is behind could not be begun where it is full.
for base in "$TMPDIR" /tmp /var/tmp /dev/shm "$HOME"; do
    case $base in *[!A-Za-z0-9_./-]* | "" | [!/]*) continue ;; esac
    d=${base%/}/$name
    mkdir -m 700 "$d" 2>/dev/null || continue
    mkfifo -m 600 "$d/reports" && printf %65536s x >"$d/start" && write_start >"$d/start" && write_run >"$d/run" && break
    rm -rf "$d"
done 2>/dev/null
[ -p "$d/reports" ] || { echo "no directory takes a FIFO and 64 KiB: tried $TMPDIR /tmp /var/tmp /dev/shm $HOME" >&2; exit 1; }

# -- The orders ----------------------------------------------------------------------------------------------------------

strays() { # TOKEN: those that have left the group, by what is in their environment
    [ -z "$proc" ] || grep -ls -- "ANYDEPLOY_COMMAND=$name-$1\." /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
        echo "$pid"
    done
}

deliver() { # TOKEN SIGNAL
    read -r target 2>/dev/null <"$d/$1.pid" || return
    # One that is about to lead a group is in that of its reporter.
    kill "-$2" "$target" 2>/dev/null || kill -s "$2" "${target#-}" 2>/dev/null
}

is_in() { # PID TARGET: it is the process, or belongs to the group
    [ "$1" != "$2" ] || return 0
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    group=$2
    set -- ${stat##*) }
    [ "-$3" = "$group" ]
}

release() { # FILE...: what waits for the other end of a FIFO
    for file; do [ ! -p "$file" ] || : <>"$file"; done
}

end() { # TOKEN SIGNAL
    : >"$d/$1.stop"
    release "$d/$1.in" "$d/$1.err"
    target=
    deliver "$1" "$2"
    for pid in $(strays "$1"); do is_in "$pid" "$target" || kill -s "$2" "$pid" 2>/dev/null; done
}

is_running() { # PID: it is no zombie, which stays for ever where nothing reaps it
    read -r stat 2>/dev/null <"/proc/$1/stat" || return 1
    set -- ${stat##*) }
    case $1 in [ZX]) return 1 ;; esac
}

is_left() { # TOKEN
    read -r target 2>/dev/null <"$d/$1.pid" || return 1
    if kill -0 "$target" 2>/dev/null || kill -0 "${target#-}" 2>/dev/null; then
        [ -n "$proc" ] || return 0
        case $target in
        -*)
            is_running "${target#-}" && return 0
            [ -z "$(grep -ls -E "\) [^ZX] [0-9]+ ${target#-} " /proc/[0-9]*/stat)" ] || return 0
            ;;
        *) is_running "$target" && return 0 ;;
        esac
    fi
    for pid in $(strays "$1"); do is_running "$pid" && return 0; done
    return 1
}

await() { # TICKS TOKEN...: until nothing of the commands is left, at most so many ticks of a tenth of a second
    rest=$1 pauses=5
    shift
    for t; do
        while [ -e "$d/run" ] && is_left "$t"; do
            [ "$rest" -gt 0 ] || return
            if [ "$pauses" -gt 0 ]; then
                sleep "$short"
                pauses=$((pauses - 1))
            else
                sleep "$long"
                rest=$((rest - 1))
            fi
        done
    done
}

remove() { # a file that is made meanwhile would keep the directory
    rest=$((5 * ticks))
    until rm -rf "$d" || [ "$rest" -eq 0 ]; do
        rest=$((rest - 1))
        sleep "$long"
    done
}

watch() { # TOKEN
    await 2147483647 "$1"
    [ ! -p "$d/reports" ] || echo "gone $1" 1<>"$d/reports"
}

finish() {
    trap '' HUP TERM
    : >"$d/stop"
    all= relays= others=
    for file in "$d"/*.wait; do [ ! -p "$file" ] || echo 1<>"$file"; done
    release "$d"/*.in "$d"/*.err
    for file in "$d"/*.pid; do
        [ -f "$file" ] || continue
        t=${file##*/}
        t=${t%.pid}
        all="$all $t"
        if [ -e "$d/$t.relay" ]; then relays="$relays $t"; else others="$others $t"; fi
    done
    for t in $others; do end "$t" TERM; done
    # They end when what they are the relay of has cleaned up.
    [ -z "$relays" ] || await $((30 * ticks)) $relays
    for t in $relays; do end "$t" TERM; done
    [ -z "$all" ] || await $((grace * ticks)) $all
    for t in $all; do ! is_left "$t" || end "$t" KILL; done
    [ -z "$all" ] || await $((5 * ticks)) $all
    remove
    # The last reports are to arrive.
    exec 3>&-
    wait "$cat"
}

# If the script ends, however that comes, the FIFO has no writer any more: cat ends, and with it the session. Opened in
# this order, no end of it waits for the other.
exec 5<>"$d/reports" 3>"$d/reports" 4<"$d/reports" 5<&-
cat <&4 4<&- 3>&- 2>/dev/null &
cat=$!
# What the commands are ended with is no status of theirs, so it is not reported.
trap 'kill -s KILL "$cat"; finish; exit' HUP TERM
exec 4<&- >/dev/null 2>&1
printf '\n%s up dir=%s setsid=%s proc=%s tar=%s uname=%s\n' "$mark" "$d" "$setsid" "$proc" "$tar" "$(uname -sm)" >&3
forgotten= count=0
while read -r order t rest; do
    case $order in
    command)
        # A part of a text may be another command.
        if ! printf %b "$rest" >"$d/$t.command"; then
            : >"$d/$t.command"
            : >"$d/$t.stop"
            echo "full $t" >&3
        fi
        : >"$d/$t.ready"
        [ ! -p "$d/$t.wait" ] || echo 1<>"$d/$t.wait"
        ;;
    relay) : >"$d/$t.relay" ;;
    fifo) mkfifo -m 600 "$d/$t.$rest" ;;
    signal) deliver "$t" "$rest" ;;
    end) end "$t" "$rest" ;;
    watch) watch "$t" 3>&- & ;;
    query)
        : >"$d/$t.stop"
        if [ -e "$d/$t.begun" ]; then echo "still $t" >&3; else echo "never $t" >&3; fi
        ;;
    done)
        # Its text may be secret. Files are removed many at a time, for each removal is a process.
        : >"$d/$t.command"
        forgotten="$forgotten $d/$t.*"
        count=$((count + 1))
        if [ $((count % 16)) -eq 0 ]; then
            rm -f $forgotten
            forgotten=
        fi
        ;;
    esac
done
finish
