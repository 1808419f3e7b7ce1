"""A link's conditions imposed on the data plane: by the kernel (tc), or by a process in the path beside the cloud."""
