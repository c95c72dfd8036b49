using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>
/// CUDA's driver with one device, whose kernels are interpreted: the whole library runs on it as on an NVIDIA GPU, down to the calls of the driver. It is
/// stricter than a real one: work is done as late as it may be, memory begins as NaN, and nothing lies beside an allocation. What it cannot show is which
/// of two streams comes first.
/// </summary>
/// <param name="architecture">Of the device: 90 for compute capability 9.0.</param>
internal sealed unsafe class InterpretedDriver(int architecture)
{
    /// <summary>In the environment, the device that a process of tests is to find: <c>sm_90</c>.</summary>
    public const string Variable = "SD_TEST_CUDA";

    /// <summary>So few that small models have tiles of all sizes.</summary>
    private const int Multiprocessors = 4;

    private const long DeviceBytes = 1L << 30;

    private readonly Dictionary<nint, object> handles = [];
    private readonly DriverStream ordered = new();
    private nint lastHandle = 0x1000;

    [ThreadStatic]
    private static nint currentContext;

    /// <summary>The streams that this thread records: it must not ask for what would wait meanwhile.</summary>
    [ThreadStatic]
    private static DriverStream? recordedHere;

    /// <summary>Where <see cref="Variable"/> asks for it, for as long as the process lives.</summary>
    public static InterpretedDriver? Installed { get; private set; }

    /// <summary>Linux's loader, and code for this processor.</summary>
    public static bool CanInstall => OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == System.Runtime.InteropServices.Architecture.X64;

    public const string CannotInstall = "the interpreted driver is a library for Linux on x86-64";

    public int Architecture => architecture;

    public DriverMemory Memory { get; } = new(DeviceBytes);

    /// <summary>Of a block at most.</summary>
    public int SharedBytes => PtxLaunch.MostSharedBytes(architecture);

    /// <summary>What no module may contain, as if this driver did not know it; null for nothing.</summary>
    public string? Refused { get; set; }

    /// <summary>Kernels with this do nothing, as if this driver had compiled them wrongly; null for none.</summary>
    public string? Spoiled { get; set; }

    /// <summary>Every call of a bound thread answers that a kernel has failed, as a driver's do once one has.</summary>
    public bool HasFailed { get; set; }

    /// <summary>Why the last call that failed did.</summary>
    public string LastMessage { get; set; } = "";

    /// <summary>Before anything looks for a device.</summary>
    [ModuleInitializer]
    internal static void Install()
    {
        if (Environment.GetEnvironmentVariable(Variable) is not { } wanted)
        {
            return;
        }

        if (!wanted.StartsWith("sm_", StringComparison.Ordinal) || !int.TryParse(wanted[3..], out var architecture))
        {
            throw new InvalidOperationException($"{Variable}: '{wanted}' is no architecture; for example sm_90");
        }

        if (!CanInstall)
        {
            throw new InvalidOperationException($"{Variable}: {CannotInstall}");
        }

        Installed = new InterpretedDriver(architecture);
        var functions = typeof(DriverCalls).GetMethods(BindingFlags.Static | BindingFlags.NonPublic | BindingFlags.Public)
            .Select(m => (Method: m, m.GetCustomAttribute<UnmanagedCallersOnlyAttribute>()?.EntryPoint)).Where(f => f.EntryPoint is not null).ToArray();
        var file = Path.GetTempFileName();
        try
        {
            // Whoever loads libcuda.so.1 from now on gets the library of that name that is there already.
            File.WriteAllBytes(file, SharedObject.Create("libcuda.so.1", [.. functions.Select(f => f.EntryPoint!)]));
            var table = (nint*)NativeLibrary.GetExport(NativeLibrary.Load(file), SharedObject.Table);
            for (var i = 0; i < functions.Length; i++)
            {
                table[i] = functions[i].Method.MethodHandle.GetFunctionPointer();
            }
        }
        finally
        {
            File.Delete(file);
        }
    }

    public nint Add(object what)
    {
        handles.Add(++lastHandle, what);
        return lastHandle;
    }

    public T Get<T>(nint handle) where T : class => handles.GetValueOrDefault(handle) as T
        ?? throw new DriverError(DriverStatus.InvalidHandle, $"{handle} is no {typeof(T).Name}");

    public void Remove(nint handle)
    {
        if (!handles.Remove(handle))
        {
            throw new DriverError(DriverStatus.InvalidHandle, $"{handle} is not, or no longer, a handle");
        }
    }

    /// <summary>Zero is the default stream; those that wait for it share its order.</summary>
    public DriverStream StreamOf(nint handle) => handle == 0 ? ordered : Get<DriverStream>(handle);

    public nint AddStream(bool blocking) => Add(blocking ? ordered : new DriverStream());

    public void Bind(nint context)
    {
        if (context != 0)
        {
            _ = Get<DriverContext>(context);
        }

        currentContext = context;
    }

    public static void RequireContext()
    {
        if (currentContext == 0)
        {
            throw new DriverError(DriverStatus.InvalidContext, "no context is bound to this thread");
        }
    }

    /// <summary>For what must not happen while this thread records.</summary>
    public static void RefuseWhileRecording(string what)
    {
        if (recordedHere is { } stream)
        {
            stream.IsSpoilt = true;
            throw new DriverError(DriverStatus.CaptureUnsupported, $"{what} while launches are recorded");
        }
    }

    public void FinishAll()
    {
        RefuseWhileRecording("waiting");
        ordered.Finish();
        foreach (var stream in handles.Values.OfType<DriverStream>().Distinct().ToList())
        {
            stream.Finish();
        }
    }

    public void Copy(nint target, nint source, long bytes, DriverStream stream)
    {
        var (toDevice, fromDevice) = (Memory.IsDevice(target, bytes), Memory.IsDevice(source, bytes));
        if (!toDevice && !fromDevice)
        {
            throw new DriverError(DriverStatus.InvalidValue, "a copy from host to host");
        }

        if ((toDevice || Memory.IsLocked(target, bytes)) && (fromDevice || Memory.IsLocked(source, bytes)))
        {
            stream.Add(() =>
            {
                // Still there?
                if (Memory.IsDevice(target, bytes) == toDevice && Memory.IsDevice(source, bytes) == fromDevice)
                {
                    Buffer.MemoryCopy((void*)source, (void*)target, bytes, bytes);
                }
                else
                {
                    throw new PtxException("a copy from or to memory that was freed");
                }
            });
            return;
        }

        // Ordinary memory may change as soon as this has returned.
        RefuseWhileRecording("a copy of memory that is not page-locked");
        if (fromDevice)
        {
            stream.Finish();
            Buffer.MemoryCopy((void*)source, (void*)target, bytes, bytes);
        }
        else
        {
            var values = new ReadOnlySpan<byte>((void*)source, checked((int)bytes)).ToArray();
            stream.Add(() =>
            {
                _ = Memory.IsDevice(target, bytes) ? true : throw new PtxException("a copy to memory that was freed");
                values.CopyTo(new Span<byte>((void*)target, values.Length));
            });
        }
    }

    public void Fill(nint target, byte value, long bytes, DriverStream stream)
    {
        Check();
        stream.Add(() =>
        {
            Check();
            NativeMemory.Fill((void*)target, (nuint)bytes, value);
        });

        void Check() => _ = Memory.IsDevice(target, bytes) ? true : throw new DriverError(DriverStatus.InvalidValue, "filling what is not the device's memory");
    }

    public static void Launch(DriverFunction function, (int X, int Y, int Z) grid, (int X, int Y, int Z) group, int shared, DriverStream stream, byte[] parameters)
    {
        if (stream.Recording is not null && !function.IsLoaded)
        {
            stream.IsSpoilt = true;
            throw new DriverError(DriverStatus.CaptureUnsupported, $"{function.Program.Name} is loaded while launches are recorded");
        }

        function.IsLoaded = true;
        _ = function.Launch(grid, group, shared, parameters);
        if (!function.IsSpoiled)
        {
            stream.Add(() => function.Launch(grid, group, shared, parameters).Run());
        }
    }

    public void BeginRecording(DriverStream stream)
    {
        if (stream == ordered || stream.Recording is not null)
        {
            throw new DriverError(DriverStatus.CaptureUnsupported, "this stream cannot be recorded, or is already");
        }

        (stream.Recording, stream.IsSpoilt) = ([], false);
        recordedHere = stream;
    }

    public static DriverGraph EndRecording(DriverStream stream)
    {
        var recorded = stream.Recording ?? throw new DriverError(DriverStatus.InvalidValue, "this stream is not recorded");
        stream.Recording = null;
        recordedHere = null;
        return stream.IsSpoilt ? throw new DriverError(DriverStatus.CaptureInvalidated, "a mistake was made while recording") : new DriverGraph([.. recorded]);
    }

    /// <summary>A number that the library or ILGPU asks for (CUdevice_attribute).</summary>
    public int Attribute(int attribute) => attribute switch
    {
        1 or 2 or 3 => 1024, // threads of a block
        4 => 64,
        5 => int.MaxValue, // blocks
        6 or 7 => 65535,
        8 => PtxLaunch.OrdinarySharedBytes,
        9 or 12 or 82 => 65536, // constant memory; registers of a block, of a multiprocessor
        10 => Warp.Size,
        13 or 36 => 1_000_000, // clock rates
        16 => Multiprocessors,
        37 => 512, // bus width
        38 => 8 << 20, // L2 cache
        39 => 2048, // threads of a multiprocessor
        75 => architecture / 10,
        76 => architecture % 10,
        81 => SharedBytes + 1024, // shared memory of a multiprocessor
        97 => SharedBytes,
        _ => 0,
    };
}

internal sealed class DriverContext;

/// <summary>What was recorded.</summary>
internal sealed class DriverGraph(IReadOnlyList<Action> work)
{
    public void Launch(DriverStream stream)
    {
        foreach (var one in work)
        {
            stream.Add(one);
        }
    }
}
