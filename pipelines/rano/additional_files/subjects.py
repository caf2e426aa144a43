"""The partitions: SUBJECT/TIMEPOINT for each folder two levels below the raw data."""
import os


def _folders(path):
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir())


def timepoints(state):
    raw = state.host_input_data_path
    return ['%s/%s' % (subject, timepoint) for subject in _folders(raw)
            for timepoint in _folders(os.path.join(raw, subject))]
