#!/usr/bin/env bash
# Runs every demo script without a window, each into its own folder under results/, and shows them all in
# results/index.html. The first run makes .venv.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")"
. utils/setup_env.sh
setup_env requirements.txt

failed=0
mkdir -p results
: >results/demos.txt

# The names of the pictures among the paths on standard input (of numbered ones the first), and how many files of each
# other kind.
summary() {
    sed 's|.*/||' | sort | awk -F. '
        match($0, /_[0-9]+\.png$/) && stem[substr($0, 1, RSTART)]++ {
            if (stem[substr($0, 1, RSTART)] == 2) names = names " .."
            next
        }
        /\.(png|jpg)$/ { names = names ", " $0; next }
        NF { count[$NF]++ }
        END { for (kind in count) kinds = kinds ", " count[kind] " ." kind
              print (names kinds == "" ? "nothing" : substr(names kinds, 3)) }'
}

# run_demo NAME SCRIPT [FLAGS]: prints the seconds taken and what was written, or the output of a script that failed.
run_demo() {
    local name=$1 script=$2 start=$SECONDS written code=0
    shift 2
    [ -f "$script" ] || return 0
    mkdir -p "results/$name"
    touch results/.started
    printf '%-25s' "$name"
    set -- "$script" "$@" --out_path "results/$name"
    "$VENV_PYTHON" "$@" --visualize False >"results/$name.log" 2>&1 </dev/null || code=$?
    if [ "$code" = 0 ]; then
        written=$(find "results/$name" -type f -newer results/.started)
        printf '%3d s   results/%s: %s\n' $((SECONDS - start)) "$name" "$(summary <<<"$written")"
    else
        printf 'FAILED with exit code %d:\n' "$code"
        cat "results/$name.log"
        failed=1
    fi
    printf '%s\t%s\t%s\t%s\n' "$name" $((SECONDS - start)) "$code" "python $*" >>results/demos.txt
}

# Says which model is used.
"$VENV_PYTHON" -c 'from utils.cli import find_model; print("Model:", find_model())' 2>/dev/null || true

run_demo sample_FLAME sample_FLAME.py --option sample_FLAME --seed 1
run_demo sample_VOCA_template sample_FLAME.py --option sample_VOCA_template --seed 1

# Fits of FLAME need a file of FLAME's: where it is missing they take the embedded head.
# flags_without FILE FITS: sets `flags` to those that say so, after a line that names the file and the fits.
flags_without() {
    flags=
    [ ! -f "data/$1" ] || return 0
    if "$VENV_PYTHON" -c 'from utils.cli import find_model, is_embedded; exit(is_embedded(find_model()))' >/dev/null 2>&1; then
        "$VENV_PYTHON" -c 'from utils.synthetic_head.demo import synthetic_path; synthetic_path("model")'
        echo "No data/$1: $2 the embedded head."
        flags='--model_fname models/synthetic_generic.pkl'
    fi
}
flags_without registered_mesh.ply 'the next fit takes'
run_demo fit_3D_mesh fit_3D_mesh.py $flags
run_demo sample_texture sample_texture.py --seed 1
run_demo fit_texture sample_texture.py --fit
run_demo build_texture build_texture_from_image.py
run_demo build_texture_mirror build_texture_from_image.py --fill mirror
flags_without flame_static_embedding.pkl 'the landmark fits take'
run_demo fit_3D_landmarks fit_3D_landmarks.py $flags
run_demo fit_2D_landmarks fit_2D_landmarks.py $flags

rm -f results/.started
if "$VENV_PYTHON" -m utils.demo_page results; then
    echo "Look at $PWD/results/index.html"
else
    failed=1
fi
exit $failed
