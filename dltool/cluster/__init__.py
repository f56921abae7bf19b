"""Grouping unlabelled pictures: the room of `dltool cluster`, which is not built yet."""
