# The script of a job queue, for any POSIX shell, on the host from which jobs are submitted. Arguments: the name of its
# directory; seconds of grace at the end; a mark that its first report begins with; the directory in which it has its own,
# or nothing; the number of ticks between two looks at the queue. Orders come on stdin, a line each; reports go to stdout.
# _slurm_queue.py says what both are.

@variables.sh
# Jobs inherit what sbatch finds.
set_aside LC_ALL mask name grace mark base ticks d program family order t rest id tries answers problem
mask=$(umask)
LC_ALL=C
export LC_ALL
umask 077
name=$1 grace=$2 mark=$3 base=${4:-$HOME} ticks=$5
d=${base%/}/$name
# Clients and jobs name the directory in plain words.
case $d in *[!A-Za-z0-9_./-]* | [!/]*) echo "the directory $base: its path may hold letters, digits and _ . / - only" >&2; exit 1 ;; esac
for program in sbatch squeue scancel; do
    command -v "$program" >/dev/null 2>&1 || { echo "there is no program $program" >&2; exit 1; }
done
squeue --me -h -o %i >/dev/null || exit
trap 'trap "" HUP TERM; rm -rf "$d"; exit 1' HUP TERM
trap '' INT QUIT PIPE
mkdir -p "$base" && mkdir -m 700 "$d" && mkdir "$d/new" || exit

# The processes of a command, by what is in their environment; those of its job are not always found by Slurm.
family=$(cat <<\END
family() {
    grep -ls -- "ANYDEPLOY_COMMAND=$name-$t\." /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
        read -r stat 2>/dev/null <"/proc/$pid/stat" || continue
        case ${stat##*) } in [ZX]*) ;; *) echo "$pid" ;; esac
    done
}
END
)

# Runs one command in its job, whose token is $1. $2: the streams that are pipes (i, o, e).
{
    cat <<\END
@variables.sh
set_aside d name t streams asked feeder input pid s
END
    echo "d=$d name=$name"
    echo "$family"
    cat <<\END
t=$1 streams=$2 asked=
trap 'asked=asked' TERM
trap : HUP INT QUIT PIPE USR1 USR2
[ -e "$d/$t.command" ] && [ ! -e "$d/$t.stop" ] || exit 0
# What the queue is told stands in a file that appears as a whole.
say() { echo "$2" >"$d/$t.$1.written" && mv "$d/$t.$1.written" "$d/new/$t.$1"; }
refuse() { say begun "$1"; exit; }
@check.sh
begun() {
    say begun "begun $pid ${SLURMD_NODENAME:-$(uname -n)}" >/dev/null 2>&1
    give_back
}
frame() { for s in out err; do printf '\033\001%s-%s\002\n' "$name" "$t" >>"$d/$t.$s"; done; }
follow() { # its input, a file that grows until it is said to be whole
    trap '' HUP INT QUIT TERM USR1 USR2
    n=0 pause=0.02
    while :; do
        whole=
        [ ! -e "$d/$t.whole" ] || whole=whole
        size=$(($(wc -c <"$d/$t.in")))
        if [ "$size" -gt "$n" ]; then
            tail -c "+$((n + 1))" "$d/$t.in" | head -c "$((size - n))" || exit
            n=$size pause=0.02
        else
            [ -z "$whole" ] || exit
            sleep "$pause"
            case $pause in 0.02) pause=0.1 ;; *) pause=0.5 ;; esac
        fi
    done
}
frame
feeder=
case $streams in
*i*)
    : >>"$d/$t.in"
    mkfifo "$d/$t.fifo" || exit
    follow >"$d/$t.fifo" </dev/null 2>/dev/null &
    feeder=$!
    input=$d/$t.fifo
    ;;
*) input=/dev/null ;;
esac
(
    read -r pid _ </proc/self/stat
    export "ANYDEPLOY_COMMAND=$name-$t."
    . "$d/$t.command"
) <"$input" >>"$d/$t.out" 2>>"$d/$t.err"
status=$?
[ -z "$feeder" ] || kill -s KILL "$feeder" 2>/dev/null
# Slurm says so before it signals anything, and this shell may be the last that its signal reaches.
! grep -qs 'CANCELLED AT' "$d/$t.log" || asked=asked
# What it leaves is ended as well: at once, as Slurm does it where it can, unless the command's end was asked for.
signal=TERM
while pids=$(family) && [ -n "$pids" ]; do
    [ -e "$d/$t.stop" ] && [ ! -e "$d/$t.killed" ] || signal=KILL
    [ -z "$signal" ] || kill -s "$signal" $pids 2>/dev/null
    signal=
    sleep 0.1
done
frame
[ -e "$d/new/$t.begun" ] || [ -e "$d/$t.begun" ] || exit "$status"
say status "ended $status $asked"
exit "$status"
END
} >"$d/job"

# Signals a command, whose token is $1, from another step of its job. $2: the name of the signal.
{
    echo "d=$d name=$name t=\$1"
    echo "$family"
    echo 'pids=$(family); [ -n "$pids" ] && { kill -s "$2" $pids 2>/dev/null; :; }'
} >"$d/kill"

# Joins the streams of one command, whose token is $1, with those of its own; $2 as above. It ends when it is told to.
{
    echo "d=$d"
    cat <<\END
t=$1
case $2 in *o*) tail -c +1 -f "$d/$t.out" & ;; esac
case $2 in *e*) tail -c +1 -f "$d/$t.err" >&2 & ;; esac
case $2 in *i*)
    # Standard input that breaks off is never taken for a whole one.
    cat >>"$d/$t.in" && : >"$d/$t.whole"
    ;;
esac
exec <&-
wait
END
} >"$d/streams"

# -- The orders ----------------------------------------------------------------------------------------------------------

as_called() { # WORD...: runs a program as it would have been run without this script
    (
        umask "$mask"
        unset LC_ALL
        give_back
        exec "$@"
    )
}

id_of() { read -r id 2>/dev/null <"$d/$1.id"; }

seal() { # TOKEN: ends the streams of a job that could not do it
    for s in out err; do printf '\033\001%s-%s\002\n\033\001%s-%s\002\n' "$name" "$1" "$name" "$1" >>"$d/$1.$s"; done
}

# The id of the job with the comment of a token; fails if there is no answer.
look_up() { squeue --me -h -t all -o '%k|%i' 2>/dev/null >"$d/$1.found" && id=$(sed -n "s/^$name\.$1|//p" "$d/$1.found"); }

submit() { # TOKEN: the options are in a file, and so is the script
    t=$1
    . "$d/$t.options"
    if id=$(as_called sbatch --parsable "$@" <"$d/$t.script" 2>"$d/$t.error"); then
        id=${id%%;*}
    else
        # A request whose answer was lost may have been granted: the comment tells. It is never made again.
        tries=0 answers=0
        while :; do
            if look_up "$t"; then
                [ -z "$id" ] || break
                answers=$((answers + 1))
            fi
            # What sbatch says is the answer, unless it speaks of the connection.
            grep -qiE 'timed out|unable to contact|connection|communication|socket|zero bytes' "$d/$t.error" || break
            [ "$answers" -lt 3 ] && [ "$tries" -lt 60 ] && [ ! -e "$d/stop" ] || break
            tries=$((tries + 1))
            sleep 1
        done
    fi
    if [ -z "$id" ]; then
        problem=$(sed -n '/./h; ${g;s/^sbatch: error: //;p;}' "$d/$t.error" | tail -n 1)
        rm -f "$d/$t.submitting"
        echo "failed $t ${problem:-sbatch failed}"
        return
    fi
    echo "$id" >"$d/$t.id.written" && mv "$d/$t.id.written" "$d/$t.id"
    echo "submitted $t $id"
    rm -f "$d/$t.submitting"
    [ ! -e "$d/$t.stop" ] && [ ! -e "$d/stop" ] || scancel "$id"
}

reach() { # TOKEN SIGNAL: fails if nothing of the command is found
    read -r _ _ node 2>/dev/null <"$d/$1.begun" && srun --jobid="$id" --overlap --nodes=1 --ntasks=1 --mem=0 --mpi=none \
        --quiet --input=none --nodelist="$node" sh "$d/kill" "$1" "$2"
}

signal() { # TOKEN SIGNAL
    id_of "$1" || return
    case $2 in
    HUP | INT | QUIT | TERM | USR1 | USR2) scancel --signal="$2" --full "$id" ;;
    # The shells around the command would not outlive it, and scancel does not know them all.
    *) reach "$1" "$2" || [ "$2" != PIPE ] || scancel --signal=TERM --full "$id" ;;
    esac
}

end() { # TOKEN SIGNAL
    : >"$d/$1.stop"
    id_of "$1" || return
    case $2 in
    KILL)
        : >"$d/$1.killed"
        # Cancelled by Slurm, it would be asked to end once more, and its status be lost.
        if reach "$1" KILL; then sleep 5; fi
        [ ! -e "$d/$1.id" ] || { scancel --signal=KILL --full "$id"; scancel "$id"; }
        ;;
    *) if [ -e "$d/$1.begun" ]; then scancel --signal="$2" --full "$id"; else scancel "$id"; fi ;;
    esac
}

conclude() { # TOKEN: the job is over; what it had to say may be a little behind
    id_of "$1"
    n=0
    while [ "$n" -lt 20 ]; do
        [ ! -e "$d/new/$1.status" ] && [ ! -e "$d/$1.status" ] || return
        n=$((n + 1))
        sleep 0.1
    done
    seal "$1"
    state=
    if [ "$2" = absent ]; then
        # The accounts are behind as well.
        n=0
        while [ "$n" -lt 15 ]; do
            state=$(sacct -n -P -X -j "$id" -o State 2>/dev/null) || break
            case $state in "" | PENDING* | RUNNING* | COMPLETING*) ;; *) break ;; esac
            n=$((n + 1))
            sleep 1
        done
        state=${state%% *}
    fi
    echo "silent $1 ${state:--} $(tail -n 1 "$d/$1.log" 2>/dev/null)"
}

look() {
    set -- "$d"/*.id
    [ -e "$1" ] || return
    echo "looking -"
    if squeue --me -h -t all -o '%k|%i|%T|%r' >"$d/queue.new" 2>"$d/queue.error"; then
        if cmp -s "$d/queue.new" "$d/queue"; then
            echo "same -"
        else
            mv "$d/queue.new" "$d/queue"
            while IFS='|' read -r comment _ state reason; do
                case $comment in "$name".*) echo "state ${comment#"$name".} $state $reason" ;; esac
            done <"$d/queue"
        fi
        echo "looked -"
    else
        echo "unreachable - $(tail -n 1 "$d/queue.error")"
    fi
}

poll() { # PID of the script
    tick=0
    while kill -0 "$1" 2>/dev/null && [ -d "$d/new" ]; do
        for file in "$d"/new/*; do
            [ -f "$file" ] && read -r kind rest 2>/dev/null <"$file" || continue
            file=${file##*/}
            mv "$d/new/$file" "$d/$file" 2>/dev/null
            echo "$kind ${file%.*} $rest"
        done
        tick=$((tick + 1))
        if [ "$tick" -ge "$ticks" ] && [ ! -e "$d/looking" ]; then
            tick=0
            : >"$d/looking"
            # An answer that takes long is not waited for.
            { look; rm -f "$d/looking"; } &
        fi
        sleep 0.1
    done
}

is_left() { # ID...: one of the jobs is still there, or that is not known
    for id; do
        state=$(squeue -h -t all -j "$id" -o %T 2>&1) || { case $state in *[Ii]nvalid*) continue ;; *) return 0 ;; esac; }
        case $state in
        "" | BOOT_FAIL | CANCELLED | COMPLETED | DEADLINE | FAILED | NODE_FAIL | OUT_OF_MEMORY | PREEMPTED | TIMEOUT) ;;
        *) return 0 ;;
        esac
    done
    return 1
}

finish() {
    trap '' HUP TERM
    : >"$d/stop"
    n=0
    while set -- "$d"/*.submitting && [ -e "$1" ] && [ "$n" -lt 100 ]; do
        n=$((n + 1))
        sleep 0.1
    done
    # Steps of a job that is held are the relays of what has to be cleaned up in there.
    n=0
    for file in "$d"/*.held; do
        file=${file%.held}
        [ -e "$file.held" ] && id_of "${file##*/}" || continue
        while squeue -h -s -j "$id" -o %i 2>/dev/null | grep -qv 'batch\|extern' && [ "$n" -lt 150 ]; do
            n=$((n + 1))
            sleep 0.2
        done
    done
    ids=
    for file in "$d"/*.id; do
        [ -e "$file" ] && read -r id <"$file" || continue
        file=${file%.id}
        # For minutes, scancel tries to signal a job that is pending.
        if [ -e "$file.begun" ] || [ -e "$d/new/${file##*/}.begun" ]; then ids="$ids $id"; else scancel "$id"; fi
    done
    if [ -n "$ids" ]; then
        scancel --signal=TERM --full $ids
        n=0
        while [ "$n" -lt "$grace" ] && is_left $ids; do
            n=$((n + 1))
            scancel --signal=TERM $ids
            sleep 1
        done
        scancel --signal=KILL --full $ids
        scancel $ids
    fi
    # A file that a job makes meanwhile, or the look at the queue, would keep the directory.
    n=0
    until rm -rf "$d" || [ "$n" -eq 50 ]; do
        n=$((n + 1))
        sleep 0.1
    done
}

trap 'finish; exit' HUP TERM
printf '\n%s up dir=%s\n' "$mark" "$d"
poll $$ </dev/null 2>/dev/null &
while read -r order t rest; do
    case $order in
    command | options | script) printf %b "$rest" >"$d/$t.$order" ;;
    held) : >"$d/$t.held" ;;
    submit)
        : >"$d/$t.submitting"
        submit "$t" </dev/null 2>/dev/null &
        ;;
    signal) signal "$t" "$rest" >/dev/null 2>&1 & ;;
    end) end "$t" "$rest" >/dev/null 2>&1 & ;;
    conclude) conclude "$t" "$rest" </dev/null 2>/dev/null & ;;
    done) rm -rf "$d/$t".* "$d/new/$t".* ;;
    esac
done
finish >/dev/null 2>&1
