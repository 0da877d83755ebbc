# bash completion for minirun: the program itself knows its commands and flags.
_minirun() {
	local words=("${COMP_WORDS[@]:0:$((COMP_CWORD + 1))}")
	COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _minirun minirun
