from dltool.errors import DataError, DeviceError, DltoolError, ModelError, SettingsError, did_you_mean


def test_every_kind_of_error_has_its_exit_code():
    codes = [error.exit_code for error in (DltoolError, SettingsError, DataError, ModelError, DeviceError)]
    assert codes == [1, 2, 3, 4, 5]


def test_nearest_name_is_suggested():
    assert did_you_mean("resnet5O", ["alexnet", "resnet50", "vgg16"]) == "; did you mean 'resnet50'?"


def test_a_name_that_contains_the_word_is_suggested():
    assert did_you_mean("dw", ["blocks.0.0.conv_dw", "classifier"]) == "; did you mean 'blocks.0.0.conv_dw'?"


def test_nothing_near_suggests_nothing():
    assert did_you_mean("qqqqqq", ["resnet50", "vgg16"]) == ""
