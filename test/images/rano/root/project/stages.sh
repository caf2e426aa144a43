#!/bin/sh
# Stands in for the image of MedPerf's RANO data preparation: the same commands, the same places, and
# of each command what others can see of it. An image is what `cat` makes of a series' files, a mask is
# a text, and a segmentation takes no time.
#
# usage: stages.sh COMMAND [--partition SUBJECT/TIMEPOINT]
set -eu

command=$1
shift
partition=
if [ "${1:-}" = --partition ]; then
    partition=$2
fi
name=$(echo "$partition" | tr / _)
modalities='t1c t1n t2f t2w'

cd "$WORKSPACE_DIRECTORY"
staging=data/staging/$partition
tumor_review=data/manual_review/tumor_extraction/$partition
brain_review=data/manual_review/brain_mask/$partition
mask=${name}_tumorMask_model_0.nii.gz
brain=brainMask_fused.nii.gz

fail() {
    echo "$command: $*" >&2
    exit 1
}
need() {
    for path; do
        [ -e "$path" ] || fail "there is no $path"
    done
}
cases() { # the folder of each, one a line
    find data/staging -mindepth 3 -maxdepth 3 -name data.csv | sed 's,/data.csv$,,' | sort
}

initial_setup() {
    need input_data
    if touch input_data/x 2>/dev/null; then fail "the raw data can be written"; fi
    mkdir -p data/staging data/manual_review/tumor_extraction data/manual_review/brain_mask
}
make_csv() {
    raw=input_data/$partition
    need "$raw" data/staging
    for found in "$raw"/*; do
        case " $modalities " in
        *" ${found##*/} "*) ;;
        *) fail "extra modality ${found##*/}" ;;
        esac
    done
    mkdir -p "$staging"
    for modality in $modalities; do
        set -- "$raw/$modality"/*.dcm
        [ -e "$1" ] || fail "missing modality $modality"
        mkdir -p "$staging/dicom/$modality"
        cp "$@" "$staging/dicom/$modality/"
    done
    printf 'name,subject,timepoint\n%s,%s\n' "$name" "$(echo "$partition" | tr / ,)" >"$staging/data.csv"
}
convert_nifti() {
    need "$staging/data.csv" metadata
    for modality in $modalities; do
        cat "$staging/dicom/$modality"/*.dcm | gzip -n >"$staging/${name}_$modality.nii.gz"
    done
    rm -r "$staging/dicom"
    echo "$name: {modalities: 4}" >"metadata/$name.yaml"
}
extract_brain() {
    need "$staging/${name}_t1c.nii.gz"
    if [ -e "$staging/corrected/$brain" ]; then
        cp "$staging/corrected/$brain" "$staging/$brain"
    else
        echo 'brain 1 1 1 1' >"$staging/$brain"
    fi
}
extract_tumor() {
    need "$staging/$brain" additional_files
    sed 's/brain/tumor/' "$staging/$brain" >"$staging/$mask"
    mkdir -p "$tumor_review/under_review" "$tumor_review/finalized" \
        "$brain_review/under_review" "$brain_review/finalized"
    cp "$staging/$mask" "$tumor_review/under_review/"
    cp "$staging/$brain" "$brain_review/under_review/"
}
prepare_for_manual_review() {
    need "$tumor_review/under_review" labels
    mkdir -p "labels/baseline/$partition"
    cp "$staging/$mask" "labels/baseline/$partition/"
}
rollback_to_brain_extract() {
    need "$brain_review/finalized/$brain"
    mkdir -p "$staging/corrected"
    cp "$brain_review/finalized/$brain" "$staging/corrected/"
    rm -r "$tumor_review" "$brain_review" "${staging:?}/$mask" "labels/baseline/$partition"
}
segmentation_comparison() {
    need "$tumor_review/finalized/$mask" "labels/baseline/$partition/$mask"
    cmp -l "$tumor_review/finalized/$mask" "labels/baseline/$partition/$mask" 2>/dev/null |
        wc -l >"$staging/changed_voxels"
}
calculate_changed_voxels() {
    all=0
    unchanged=0
    for case in $(cases); do
        need "$case/changed_voxels"
        all=$((all + 1))
        [ "$(cat "$case/changed_voxels")" -ne 0 ] || unchanged=$((unchanged + 1))
    done
    echo "$((unchanged * 100 / all))% of the cases were not changed" >data/changed_voxels.msg
}
move_labeled_files() {
    need data/changed_voxels.msg
    for case in $(cases); do
        subject=${case#data/staging/}
        mkdir -p "data/$subject" "labels/$subject"
        mv "$case"/*_t??.nii.gz "data/$subject/"
        cp "data/manual_review/tumor_extraction/$subject/finalized/"*.nii.gz "labels/$subject/"
        echo "${subject%/*}"
    done | sort -u >data/subjects
}
consolidation_stage() {
    need parameters.yaml data/subjects
    percent=$(sed -n 's/^train_percent: 0\.\([0-9]\).*/\10/p' parameters.yaml)
    [ "$percent" ] || fail "parameters.yaml has no train_percent"
    train=$(($(wc -l <data/subjects) * percent / 100))
    echo subject >data/train.csv
    echo subject >data/val.csv
    head -n "$train" data/subjects >>data/train.csv
    tail -n "+$((train + 1))" data/subjects >>data/val.csv
    { echo subject,split
        sed -n '2,$s/$/,train/p' data/train.csv
        sed -n '2,$s/$/,val/p' data/val.csv; } >data/splits.csv
    cat metadata/*.yaml >metadata/all
    rm metadata/*.yaml
    mv metadata/all metadata/metadata.yaml
    rm -r data/staging data/manual_review labels/baseline data/subjects
}
sanity_check() {
    need data/splits.csv
    sed -n '2,$s/,.*//p' data/splits.csv | while read -r subject; do
        for case in data/"$subject"/*; do
            set -- "$case"/*_t??.nii.gz
            [ $# -eq 4 ] || fail "a case does not have four scans"
            need "labels/${case#data/}"
        done
    done
}
metrics() {
    need data/train.csv data/val.csv
    { echo "num_train_subjects: $(($(wc -l <data/train.csv) - 1))"
        echo "num_val_subjects: $(($(wc -l <data/val.csv) - 1))"
        echo "num_invalid_subjects: 0"; } >data/statistics.yaml
}

case $command in
initial_setup | make_csv | convert_nifti | extract_brain | extract_tumor | prepare_for_manual_review | \
    rollback_to_brain_extract | segmentation_comparison | calculate_changed_voxels | \
    move_labeled_files | consolidation_stage | sanity_check | metrics)
    "$command"
    ;;
*) fail "no such command" ;;
esac
# What was done, in order: the tests read it.
echo "$command${partition:+ $partition}" >>data/journal
