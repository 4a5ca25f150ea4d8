# Sourced: processes known by what was recorded when they started. Nothing is ever stopped by its name.
# A record is "PID START-TIME BOOT-ID": a number that the kernel has given to another process since does not match.

started_at() { # of PID, in clock ticks since boot; the process name before it can hold spaces and brackets
  local stat
  read -r stat <"/proc/$1/stat" || return 1
  set -- ${stat##*) }
  [[ $1 != [ZX] ]] && echo "${20}" # dead, though its parent has not yet asked for it
} 2>/dev/null

record() { # FILE PID
  echo "$2 $(started_at "$2") $(cat /proc/sys/kernel/random/boot_id)" >"$1.new"
  mv "$1.new" "$1"
}

recorded_pid() { # FILE: prints the process's number if it lives and is the one that was recorded
  local pid start boot
  read -r pid start boot <"$1" || return 1
  [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] && [ "$(started_at "$pid")" = "$start" ] || return 1
  echo "$pid"
} 2>/dev/null

component_runs() { recorded_pid "$RUN/$1.supervisor" >/dev/null && recorded_pid "$RUN/$1.pid" >/dev/null; }

# start_component NAME COMMAND...: detached, its output in a log, started again when it dies.
start_component() {
  local name=$1
  shift
  component_runs "$name" && return
  stop_components "$name" # a supervisor or a child left alone
  [ "$(stat -c %s "$LOGS/$name.log" 2>/dev/null || echo 0)" -lt 50000000 ] || mv "$LOGS/$name.log" "$LOGS/$name.log.old"
  env "$(process_mark)" setsid "$HERE/supervise" "$name" "$@" >>"$LOGS/$name.log" 2>&1 </dev/null 8>&- 9>&- &
  disown
  wait_for 10 "$name starts" component_runs "$name"
}

# stop_components NAME...: asks the supervisors to end, all at once, and insists after a while.
stop_components() {
  local name file pid deadline=$((SECONDS + 12))
  for name in "$@"; do
    if pid=$(recorded_pid "$RUN/$name.supervisor"); then kill -TERM "$pid" 2>/dev/null || true
    elif pid=$(recorded_pid "$RUN/$name.pid"); then kill -TERM "$pid" 2>/dev/null || true; fi
  done
  for name in "$@"; do
    for file in "$RUN/$name.supervisor" "$RUN/$name.pid"; do
      while pid=$(recorded_pid "$file"); do
        if [ $SECONDS -ge $deadline ]; then kill -KILL "$pid" 2>/dev/null || true; fi
        sleep 0.1
      done
      rm -f "$file"
    done
  done
}
