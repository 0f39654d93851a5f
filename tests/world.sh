# Sourced by tests that run the program: make_world fills the folder they are in with two domains of text, their dataset in data, a recipe
# tiny.ini and its run in tiny. `lamp` must be the program.
make_world() {
    mkdir -p text/river text/stone empty
    for i in 1 2 3 4 5 6; do
        for ((j = 0; j < 40; j++)); do echo "The river $((i * j % 17)) runs past house $((j % 7)) and bridge $((i + j)) sings."; done >text/river/$i.txt
        for ((j = 0; j < 40; j++)); do echo "f$((j % 9)) = $((i * j)) * (x + $j);"; done >text/stone/$i.c
    done
    printf '%s\n' '{"text": "one line of text"}' '{"text": "another line, caf\u00e9", "id": 2}' '{"text": "one line of text"}' >lines.jsonl
    printf '%s\n' '[model]' 'hidden_size = 16' 'intermediate_size = 24' 'num_hidden_layers = 2' 'num_attention_heads = 4' \
        'max_position_embeddings = 16' '[router]' 'experts = 4' '[data]' 'path = data' '[train]' 'batch_tokens = 128' 'steps = 4' \
        'threads = 1' >tiny.ini
    lamp data build data --domain river=text/river --domain stone=text/stone --vocab 320 --quiet >/dev/null
    lamp train tiny.ini --run tiny --quiet
}

# Beside them a run `saved` that has done so many steps of all that its recipe now asks for, a run `dense` to upcycle, and ids for lamp logits.
make_runs() { # done all
    printf '%s\n' 1 2 3 4 >ids
    lamp train tiny.ini --run saved --quiet --set train.steps="$1" &&
        sed "s/^steps = $1\$/steps = $2/" saved/recipe.ini >recipe && mv recipe saved/recipe.ini &&
        lamp train tiny.ini --run dense --quiet --set model.family=llama --set router.experts=1
}

# A fresh folder for thousands of copies of that world: in memory, where there is room for files.
make_scratch() { # name
    local place=/tmp
    [ -w /dev/shm ] && place=/dev/shm
    mktemp -d "${TMPDIR:-$place}/lamp-$1-XXXXXX"
}
