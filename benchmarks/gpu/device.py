"""Launches generated kernels beside torch: driver API through ctypes, tensor maps, device timing."""
import ctypes
import json
import random
import statistics
import time

import torch

torch.backends.cuda.matmul.allow_tf32 = False
torch.zeros(1, device="cuda")  # makes the context that the driver calls below use
cuda = ctypes.CDLL("libcuda.so.1")

BFLOAT16, SWIZZLE = 9, {64: 2, 128: 3}  # CUtensorMapDataType, CUtensorMapSwizzle
L2_PROMOTION_128B, MAX_DYNAMIC_SHARED = 2, 8
SMS = torch.cuda.get_device_properties(0).multi_processor_count


def sort_ctas(pairs):
    """CTAs that sort so many pairs: one, by one kernel, or about as many as compiled programs take, by two."""
    return 1 if pairs <= 1024 else min(SMS, pairs // 512)


def check(code, what):
    if code:
        text = ctypes.c_char_p()
        cuda.cuGetErrorString(code, ctypes.byref(text))
        raise RuntimeError(f"{what}: error {code}, {text.value.decode()}")


class TensorMap:
    """The 128 bytes of a CUtensorMap, aligned to 64."""

    def __init__(self, address, dims, strides, box, swizzle_bytes):
        self.memory = ctypes.create_string_buffer(128 + 64)
        base = ctypes.addressof(self.memory)
        self.address = (base + 63) // 64 * 64
        rank = len(dims)
        check(cuda.cuTensorMapEncodeTiled(
            ctypes.c_void_p(self.address), BFLOAT16, rank, ctypes.c_void_p(address),
            (ctypes.c_uint64 * rank)(*dims), (ctypes.c_uint64 * (rank - 1))(*strides),
            (ctypes.c_uint32 * rank)(*box), (ctypes.c_uint32 * rank)(*[1] * rank),
            0, SWIZZLE[swizzle_bytes], L2_PROMOTION_128B, 0), "cuTensorMapEncodeTiled")


def make_map(parameter, tensor):
    """A map as moe/Codegen/KernelInterface.h describes it."""
    columns, height = parameter["columns"], parameter["box_rows"]
    width, pitch = parameter["box_columns"], columns * parameter["element_bytes"]
    rows, swizzle = tensor.shape[0], width * parameter["element_bytes"]
    assert tensor.shape[1] == columns and tensor.is_contiguous(), (tensor.shape, columns)
    if parameter["kind"] == "blocked_map":  # the tensor holds blocks of 8 x 64, in any shape of these rows
        return TensorMap(tensor.data_ptr(), [64, 8, columns // 64, rows // 8], [128, 1024, 16 * columns],
                         [64, 8, 1, height // 8], 128)
    if parameter["kind"] == "matrix_map":
        return TensorMap(tensor.data_ptr(), [columns, rows], [pitch], [width, height], swizzle)
    return TensorMap(tensor.data_ptr() - height * pitch, [columns, height, rows + height + 1],
                     [pitch, pitch], [width, height, 1], swizzle)


class Kernel:
    """One cubin with its interface; `bind` fixes the arguments, calling launches it."""

    def __init__(self, path):
        with open(path + ".json") as file:
            self.interface = json.load(file)
        with open(path + ".cubin", "rb") as file:
            image = file.read()
        self.module, self.function = ctypes.c_void_p(), ctypes.c_void_p()
        check(cuda.cuModuleLoadData(ctypes.byref(self.module), image), "load " + path)
        check(cuda.cuModuleGetFunction(ctypes.byref(self.function), self.module,
                                       self.interface["name"].encode()), "find kernel")
        self.shared = self.interface["shared_bytes"]
        check(cuda.cuFuncSetAttribute(self.function, MAX_DYNAMIC_SHARED, self.shared),
              "shared memory")

    def grid_of(self, arguments):
        """CTAs where the caller names none: as the interface says of rows, or one for each SM where any number is right."""
        if self.interface["persistent"]:
            return SMS
        if "grid" not in self.interface:
            raise ValueError(f"{self.interface['name']}: its interface names no number of CTAs, expected a grid from the caller")
        grid = self.interface["grid"]
        rows = arguments[grid["rows"]]
        blocks = -(-(rows if isinstance(rows, int) else len(rows)) // grid["rows_per_block"])
        return -(-blocks * grid["parts_per_block"] // grid["parts_per_cta"])

    def bind(self, grid=None, early=False, **arguments):
        launch = object.__new__(Launch)
        launch.kernel, launch.keep, launch.early = self, [], early
        cluster = self.interface.get("cluster", 1)
        launch.grid = max((self.grid_of(arguments) if grid is None else grid) // cluster, 1) * cluster
        pointers = []
        for parameter in self.interface["parameters"]:
            value = arguments[parameter["name"]]
            if parameter["kind"] == "integer":
                cell = ctypes.c_int32(value)
                pointers.append(ctypes.addressof(cell))
            elif parameter["kind"] == "pointer":
                cell = ctypes.c_void_p(value.data_ptr())
                pointers.append(ctypes.addressof(cell))
            else:
                cell = make_map(parameter, value)
                pointers.append(cell.address)
            launch.keep += [cell, value]
        launch.arguments = (ctypes.c_void_p * len(pointers))(*pointers)
        return launch


class Attribute(ctypes.Structure):
    """CUlaunchAttribute: programmatic stream serialization is number 6."""
    _fields_ = [("id", ctypes.c_int), ("pad", ctypes.c_int), ("value", ctypes.c_int * 16)]


class Config(ctypes.Structure):
    """CUlaunchConfig."""
    _fields_ = [("grid", ctypes.c_uint * 3), ("block", ctypes.c_uint * 3), ("shared", ctypes.c_uint),
                ("stream", ctypes.c_void_p), ("attributes", ctypes.POINTER(Attribute)), ("count", ctypes.c_uint)]


EARLY = Attribute(6, 0, (ctypes.c_int * 16)(1))


class Launch:
    early = False  # may begin while the kernel before ends

    def __call__(self):
        kernel = self.kernel
        config = Config((self.grid, 1, 1), (kernel.interface["threads"], 1, 1), kernel.shared,
                        torch.cuda.current_stream().cuda_stream, ctypes.pointer(EARLY), int(self.early))
        check(cuda.cuLaunchKernelEx(ctypes.byref(config), kernel.function, self.arguments, None), "launch")


def event_times(run, count):
    events = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True))
              for _ in range(count)]
    run()
    for begin, end in events:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return [begin.elapsed_time(end) for begin, end in events]


def race(contenders, rounds=8, seed=0):
    """Median milliseconds by device events, contenders shuffled in each round: `burst` after 15 ms
    of idling, `sustained` back to back."""
    once, result = {}, {}
    for name, run in contenders.items():
        run()
        run()
        once[name] = max(min(event_times(run, 3)), 1e-3)
    generator, order = random.Random(seed), list(contenders)
    burst = {name: [] for name in order}
    sustained = {name: [] for name in order}
    for _ in range(rounds):
        generator.shuffle(order)
        for name in order:
            time.sleep(0.015)
            burst[name] += event_times(contenders[name], max(1, min(20, int(3 / once[name]))))
    for _ in range(rounds // 2):
        generator.shuffle(order)
        for name in order:
            sustained[name] += event_times(contenders[name], max(3, min(40, int(30 / once[name]))))
    for name in contenders:
        result[name] = {"burst_ms": statistics.median(burst[name]),
                        "sustained_ms": statistics.median(sustained[name])}
    return result
