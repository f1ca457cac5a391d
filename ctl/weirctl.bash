# Completion of weirctl for bash. Commands and options stand here, and a test compares them with `weirctl help --json`;
# apps and backends are asked for, quietly and with little patience.

# What weir names in the column of a table, one a line. Columns are two blanks apart.
_weirctl_names() { # COMMAND COLUMN [OPTION OF WEIRCTL ...]
	local command=$1 column=$2
	shift 2
	command weirctl -t 2s "$@" "$command" 2>/dev/null | awk -F '   *' -v c="$column" 'NR > 1 && $1 != "" { print $c }'
}

# The members of the view, and voters that are none any more.
_weirctl_members() { # [OPTION OF WEIRCTL ...]
	command weirctl -t 2s "$@" view 2>/dev/null | awk '
		$1 == "voters" { sub(/^voters */, ""); n = split($0, v, ", *"); for (i = 1; i <= n; i++) print v[i] }
		/^[a-z]/ { table = $1 }
		/^  / && table == "members" && $1 != "NAME" { print $1 }' | sort -u
}

# Of the lines of standard input those that begin with $1, as words of the shell. Colons break words for readline,
# which then wants only what comes behind the last one.
_weirctl_offer() {
	local typed=$1 name before=
	[[ $COMP_WORDBREAKS == *:* && $typed == *:* ]] && before=${typed%"${typed##*:}"}
	while IFS= read -r name; do
		if [[ -n $name && $name == "$typed"* ]]; then
			printf -v name '%q' "${name#"$before"}"
			COMPREPLY+=("$name")
		fi
	done
}

_weirctl_words() { # TYPED WORD ...
	local typed=$1
	shift
	_weirctl_offer "$typed" < <(printf '%s\n' "$@")
}

# COMP_WORDS is split at colons and at =; these are whole.
_weirctl_whole_words() {
	local line=${COMP_LINE:0:COMP_POINT}
	# xargs would read quotes; nothing that is asked for here needs them.
	read -ra words <<<"$line"
	[[ $line == *[[:blank:]] || -z $line ]] && words+=("")
	return 0
}

_weirctl_sessions_options() {
	case $previous in
	--app) _weirctl_offer "$typed" < <(_weirctl_names apps 1 "${options[@]}") ;;
	--in) _weirctl_words "$typed" memory disk ;;
	--is)
		# A comma would be quoted.
		local state before=
		[[ $typed == *,* ]] && before=${typed%,*},
		for state in busy idle waiting pinned fresh unreadable; do
			[[ $before$state == "$typed"* ]] && COMPREPLY+=("$before$state")
		done
		;;
	--older | --younger | --limit | --cursor) ;;
	*) _weirctl_words "$typed" --json --app --in --is --older --younger --limit --cursor --all ;;
	esac
}

# Folders are bash's own to complete.
_weirctl_pki_options() {
	case "$previous ${given[0]}" in
	"--cluster "* | "--names "* | "--days "*) ;;
	*" init") [[ $typed == -* ]] && _weirctl_words "$typed" --json --cluster --days ;;
	*" issue") [[ $typed == -* ]] && _weirctl_words "$typed" --json --names --days --force ;;
	esac
	if [[ $typed != -* && ${#given[@]} -eq 1 ]]; then
		compopt -o dirnames 2>/dev/null
	fi
}

# The words behind the command: $given has those before the typed one.
_weirctl_arguments() {
	case "$first ${given[0]}" in
	"sessions "*) _weirctl_sessions_options ;;
	"app start" | "app stop")
		if ((${#given[@]} == 1)); then
			_weirctl_offer "$typed" < <(_weirctl_names apps 1 "${options[@]}")
		fi
		;;
	"backend drain" | "backend ready")
		if ((${#given[@]} <= 2)); then
			_weirctl_offer "$typed" < <(_weirctl_names backends 2 "${options[@]}")
		fi
		if ((${#given[@]} == 1)); then
			_weirctl_offer "$typed" < <(_weirctl_names apps 1 "${options[@]}")
		fi
		;;
	"pki init" | "pki issue" | "pki list" | "pki revoke") _weirctl_pki_options ;;
	"pki "*) ((${#given[@]} == 0)) && _weirctl_words "$typed" init issue list revoke ;;
	"cluster forget")
		if ((${#given[@]} == 1)); then
			_weirctl_offer "$typed" < <(_weirctl_members "${options[@]}")
		fi
		;;
	"cluster "*)
		if ((${#given[@]} == 0)) && [[ $typed != -* ]]; then
			_weirctl_words "$typed" forget
		fi
		;;
	"buckets "*)
		if ((${#given[@]} == 0)) && [[ $typed != -* ]]; then
			_weirctl_offer "$typed" < <(_weirctl_names buckets 1 "${options[@]}" | sort -u)
		fi
		;;
	"app "*) _weirctl_words "$typed" start stop ;;
	"backend "*) _weirctl_words "$typed" drain ready ;;
	"session show") [[ $typed == -* ]] && _weirctl_words "$typed" --json --state ;;
	"session "*) ((${#given[@]} == 0)) && _weirctl_words "$typed" show end pin unpin demote promote ;;
	"metrics "*) _weirctl_words "$typed" --json --openmetrics ;;
	"log-level "*) ((${#given[@]} == 0)) && _weirctl_words "$typed" error warn info debug ;;
	"help ") _weirctl_words "$typed" $_weirctl_commands ;;
	esac
	if [[ $typed == -* && ${#COMPREPLY[@]} -eq 0 ]]; then
		_weirctl_words "$typed" --json
	fi
}

_weirctl_commands="status health apps app backends backend sessions session cluster view buckets links reload drain log-level metrics pki help"

_weirctl() {
	local -a words=() options=() given=()
	local typed previous first= i
	COMPREPLY=()
	_weirctl_whole_words
	typed=${words[-1]}
	previous=${words[-2]-}
	for ((i = 1; i < ${#words[@]} - 1; i++)); do
		if [[ -n $first ]]; then
			given+=("${words[i]}")
			continue
		fi
		case ${words[i]} in
		-c | -s | -p)
			# Where weir is, for who asks it.
			((i + 2 < ${#words[@]})) && options+=("${words[i]}" "${words[i + 1]}")
			((i++))
			;;
		-t) ((i++)) ;;
		-*) ;;
		*) first=${words[i]} ;;
		esac
	done
	if [[ -n $first ]]; then
		_weirctl_arguments
	elif [[ $previous == -[csp] ]]; then
		compopt -o default 2>/dev/null
	elif [[ $previous != -t ]]; then
		if [[ $typed == -* ]]; then
			_weirctl_words "$typed" -c -s -p -t -v -h --json
		else
			_weirctl_words "$typed" $_weirctl_commands
		fi
	fi
}

complete -F _weirctl weirctl
