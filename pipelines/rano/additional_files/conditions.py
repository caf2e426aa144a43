"""How a review ended: by what a person has put into the folder `finalized`."""
import os

TUMOR = '%s_tumorMask_model_0.nii.gz'
BRAIN = 'brainMask_fused.nii.gz'


def _finalized(state, kind, wanted):
    folder = os.path.join(state.host_output_data_path, 'manual_review', kind, state.running_subject,
                          'finalized')
    found = sorted(os.listdir(folder))
    if found and found != [wanted]:
        print('finalized has %d files; it needs one, with the name that it had under review'
              % len(found))
    return found == [wanted]


def tumor_reviewed(state):
    return _finalized(state, 'tumor_extraction', TUMOR % state.running_subject.replace('/', '_'))


def brain_corrected(state):
    return _finalized(state, 'brain_mask', BRAIN)
