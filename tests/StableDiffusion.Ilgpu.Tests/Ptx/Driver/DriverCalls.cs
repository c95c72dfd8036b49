using System.Runtime.InteropServices;
using System.Text;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>
/// The functions of CUDA's driver that the library and ILGPU call, as <see cref="InterpretedDriver"/> does them. One call at a time: kernels run
/// within the call that waits for them.
/// </summary>
internal static unsafe class DriverCalls
{
    private const int MaxDynamicSharedSizeBytes = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    private const int NonBlocking = 1; // CU_STREAM_NON_BLOCKING
    private const int BlocksPerMultiprocessor = 2;

    private static readonly Lock Gate = new();

    private static InterpretedDriver Driver => InterpretedDriver.Installed!;

    [UnmanagedCallersOnly(EntryPoint = "cuInit")]
    private static int Init(uint flags) => 0;

    [UnmanagedCallersOnly(EntryPoint = "cuDriverGetVersion")]
    private static int DriverGetVersion(int* version) => Set(version, 12040);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetCount")]
    private static int DeviceGetCount(int* count) => Set(count, 1);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGet")]
    private static int DeviceGet(int* device, int ordinal) => Set(device, ordinal);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetName")]
    private static int DeviceGetName(byte* name, int length, int device)
    {
        var text = Encoding.ASCII.GetBytes($"interpreted RTX sm_{Driver.Architecture}\0");
        text.CopyTo(new Span<byte>(name, length));
        return 0;
    }

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceTotalMem_v2")]
    private static int DeviceTotalMem(long* bytes, int device) => Set(bytes, Driver.Memory.DeviceBytes);

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceGetAttribute")]
    private static int DeviceGetAttribute(int* value, int attribute, int device) => Set(value, Driver.Attribute(attribute));

    [UnmanagedCallersOnly(EntryPoint = "cuDeviceCanAccessPeer")]
    private static int DeviceCanAccessPeer(int* can, int device, int peer) => Set(can, 0);

    [UnmanagedCallersOnly(EntryPoint = "cuCtxCreate_v2")]
    private static int CtxCreate(nint* context, int flags, int device) => Call(() =>
    {
        *context = Driver.Add(new DriverContext());
        Driver.Bind(*context);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuCtxDestroy_v2")]
    private static int CtxDestroy(nint context) => Call(() =>
    {
        Driver.FinishAll();
        Driver.Remove(context);
        Driver.Bind(0);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuCtxSetCurrent")]
    private static int CtxSetCurrent(nint context) => Call(() => Driver.Bind(context));

    [UnmanagedCallersOnly(EntryPoint = "cuCtxSynchronize")]
    private static int CtxSynchronize() => Bound(() => Driver.FinishAll());

    [UnmanagedCallersOnly(EntryPoint = "cuCtxSetCacheConfig")]
    private static int CtxSetCacheConfig(int config) => 0;

    [UnmanagedCallersOnly(EntryPoint = "cuCtxGetCacheConfig")]
    private static int CtxGetCacheConfig(int* config) => Set(config, 0);

    [UnmanagedCallersOnly(EntryPoint = "cuCtxSetSharedMemConfig")]
    private static int CtxSetSharedMemConfig(int config) => 0;

    [UnmanagedCallersOnly(EntryPoint = "cuCtxGetSharedMemConfig")]
    private static int CtxGetSharedMemConfig(int* config) => Set(config, 0);

    [UnmanagedCallersOnly(EntryPoint = "cuMemGetInfo_v2")]
    private static int MemGetInfo(long* free, long* total) => Bound(() => (*free, *total) = (Driver.Memory.FreeBytes, Driver.Memory.DeviceBytes));

    [UnmanagedCallersOnly(EntryPoint = "cuMemAlloc_v2")]
    private static int MemAlloc(nint* start, long bytes) => Bound(() =>
    {
        InterpretedDriver.RefuseWhileRecording("allocating");
        *start = Driver.Memory.Allocate(bytes);
        if (*start == 0)
        {
            throw new DriverError(DriverStatus.OutOfMemory, $"{bytes} bytes wanted, {Driver.Memory.FreeBytes} free");
        }
    });

    /// <summary>Waits for what may use the memory.</summary>
    [UnmanagedCallersOnly(EntryPoint = "cuMemFree_v2")]
    private static int MemFree(nint start) => Bound(() =>
    {
        Driver.FinishAll();
        Require(Driver.Memory.Free(start), "freeing what was not allocated");
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemAllocHost_v2")]
    private static int MemAllocHost(nint* start, long bytes) => Bound(() =>
    {
        InterpretedDriver.RefuseWhileRecording("allocating");
        *start = Driver.Memory.AllocateHost(bytes);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemFreeHost")]
    private static int MemFreeHost(nint start) => Bound(() =>
    {
        Driver.FinishAll();
        Require(Driver.Memory.FreeHost(start), "freeing what was not allocated");
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemHostRegister_v2")]
    private static int MemHostRegister(nint start, long bytes, int flags) => Bound(() => Driver.Memory.Lock(start, bytes));

    [UnmanagedCallersOnly(EntryPoint = "cuMemHostUnregister")]
    private static int MemHostUnregister(nint start) => Bound(() =>
    {
        Driver.FinishAll();
        Require(Driver.Memory.Unlock(start), "unlocking what was not locked");
    });

    [UnmanagedCallersOnly(EntryPoint = "cuMemHostGetDevicePointer_v2")]
    private static int MemHostGetDevicePointer(nint* device, nint host, int flags) => Set(device, host);

    [UnmanagedCallersOnly(EntryPoint = "cuMemcpyAsync")]
    private static int MemcpyAsync(nint target, nint source, long bytes, nint stream) =>
        Bound(() => Driver.Copy(target, source, bytes, Driver.StreamOf(stream)));

    [UnmanagedCallersOnly(EntryPoint = "cuMemsetD8Async")]
    private static int MemsetD8Async(nint target, byte value, long bytes, nint stream) =>
        Bound(() => Driver.Fill(target, value, bytes, Driver.StreamOf(stream)));

    [UnmanagedCallersOnly(EntryPoint = "cuModuleLoadData")]
    private static int ModuleLoadData(nint* module, byte* text) => Load(module, text);

    [UnmanagedCallersOnly(EntryPoint = "cuModuleLoadDataEx")]
    private static int ModuleLoadDataEx(nint* module, byte* text, int options, nint kinds, nint values) => Load(module, text);

    [UnmanagedCallersOnly(EntryPoint = "cuModuleUnload")]
    private static int ModuleUnload(nint module) => Bound(() =>
    {
        Driver.FinishAll();
        Driver.Remove(module);
    });

    /// <summary>A module has one kernel, and stands for it.</summary>
    [UnmanagedCallersOnly(EntryPoint = "cuModuleGetFunction")]
    private static int ModuleGetFunction(nint* function, nint module, byte* name) => Bound(() =>
    {
        if (Driver.Get<DriverFunction>(module).Program.Name != Marshal.PtrToStringUTF8((nint)name))
        {
            throw new DriverError(DriverStatus.NotFound, $"no kernel {Marshal.PtrToStringUTF8((nint)name)}");
        }

        *function = module;
    });

    [UnmanagedCallersOnly(EntryPoint = "cuFuncSetAttribute")]
    private static int FuncSetAttribute(nint function, int attribute, int value) => Bound(() =>
    {
        Require(attribute == MaxDynamicSharedSizeBytes, $"attribute {attribute}");
        Driver.Get<DriverFunction>(function).AllowShared(value);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuOccupancyMaxActiveBlocksPerMultiprocessor")]
    private static int OccupancyMaxActiveBlocks(int* blocks, nint function, int threads, long shared) => Set(blocks, BlocksPerMultiprocessor);

    /// <summary>Parameters come in one piece: CU_LAUNCH_PARAM_BUFFER_POINTER, its address, CU_LAUNCH_PARAM_BUFFER_SIZE, the address of its size.</summary>
    [UnmanagedCallersOnly(EntryPoint = "cuLaunchKernel")]
    private static int LaunchKernel(
        nint function, int gridX, int gridY, int gridZ, int groupX, int groupY, int groupZ, int shared, nint stream, nint* parameters, nint* extra) => Bound(() =>
    {
        Require(parameters == null && extra != null && extra[0] == 1 && extra[2] == 2, "parameters one by one");
        var given = new ReadOnlySpan<byte>((void*)extra[1], *(int*)extra[3]).ToArray();
        InterpretedDriver.Launch(Driver.Get<DriverFunction>(function), (gridX, gridY, gridZ), (groupX, groupY, groupZ), shared, Driver.StreamOf(stream), given);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuStreamCreate")]
    private static int StreamCreate(nint* stream, int flags) => Bound(() => *stream = Driver.AddStream(flags != NonBlocking));

    [UnmanagedCallersOnly(EntryPoint = "cuStreamDestroy_v2")]
    private static int StreamDestroy(nint stream) => Bound(() =>
    {
        Driver.StreamOf(stream).Finish();
        Driver.Remove(stream);
    });

    [UnmanagedCallersOnly(EntryPoint = "cuStreamSynchronize")]
    private static int StreamSynchronize(nint stream) => Bound(() =>
    {
        InterpretedDriver.RefuseWhileRecording("waiting");
        Driver.StreamOf(stream).Finish();
    });

    [UnmanagedCallersOnly(EntryPoint = "cuEventCreate")]
    private static int EventCreate(nint* created, int flags) => Bound(() => *created = Driver.Add(new DriverEvent()));

    [UnmanagedCallersOnly(EntryPoint = "cuEventDestroy_v2")]
    private static int EventDestroy(nint destroyed) => Bound(() => Driver.Remove(destroyed));

    [UnmanagedCallersOnly(EntryPoint = "cuEventRecord")]
    private static int EventRecord(nint recorded, nint stream) => Bound(() => Driver.Get<DriverEvent>(recorded).Record(Driver.StreamOf(stream)));

    [UnmanagedCallersOnly(EntryPoint = "cuEventSynchronize")]
    private static int EventSynchronize(nint awaited) => Bound(() =>
    {
        InterpretedDriver.RefuseWhileRecording("waiting");
        Driver.Get<DriverEvent>(awaited).Wait();
    });

    [UnmanagedCallersOnly(EntryPoint = "cuStreamBeginCapture_v2")]
    private static int StreamBeginCapture(nint stream, int mode) => Bound(() => Driver.BeginRecording(Driver.StreamOf(stream)));

    [UnmanagedCallersOnly(EntryPoint = "cuStreamEndCapture")]
    private static int StreamEndCapture(nint stream, nint* graph) => Bound(() => *graph = Driver.Add(InterpretedDriver.EndRecording(Driver.StreamOf(stream))));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphInstantiateWithFlags")]
    private static int GraphInstantiate(nint* executable, nint graph, ulong flags) => Bound(() => *executable = Driver.Add(Driver.Get<DriverGraph>(graph)));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphLaunch")]
    private static int GraphLaunch(nint executable, nint stream) => Bound(() => Driver.Get<DriverGraph>(executable).Launch(Driver.StreamOf(stream)));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphDestroy")]
    private static int GraphDestroy(nint graph) => Bound(() => Driver.Remove(graph));

    [UnmanagedCallersOnly(EntryPoint = "cuGraphExecDestroy")]
    private static int GraphExecDestroy(nint executable) => Bound(() => Driver.Remove(executable));

    [UnmanagedCallersOnly(EntryPoint = "cuGetErrorString")]
    private static int GetErrorString(int status, nint* text) => Set(text, Marshal.StringToCoTaskMemUTF8($"{(DriverStatus)status}: {Driver.LastMessage}"));

    private static int Load(nint* module, byte* text) =>
        Bound(() => *module = Driver.Add(new DriverFunction(Driver, Marshal.PtrToStringUTF8((nint)text)!)));

    private static int Set<T>(T* target, T value) where T : unmanaged
    {
        *target = value;
        return 0;
    }

    private static void Require(bool condition, string what)
    {
        if (!condition)
        {
            throw new DriverError(DriverStatus.InvalidValue, what);
        }
    }

    private static int Bound(Action call) => Call(() =>
    {
        InterpretedDriver.RequireContext();
        if (Driver.HasFailed)
        {
            throw new DriverError(DriverStatus.LaunchFailed, "a kernel has failed");
        }

        call();
    });

    /// <summary>No exception may leave to whom it means nothing.</summary>
    private static int Call(Action call)
    {
        lock (Gate)
        {
            try
            {
                call();
                return 0;
            }
            catch (Exception e)
            {
                Driver.LastMessage = e is DriverError or PtxException ? e.Message : e.ToString();
                return (int)(e switch
                {
                    DriverError error => error.Status,
                    PtxException => DriverStatus.LaunchFailed,
                    _ => DriverStatus.Unknown,
                });
            }
        }
    }
}
