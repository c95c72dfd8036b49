using System.Runtime.Intrinsics.X86;
using ILGPU.Backends.OpenCL;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Which device is used when none is named, and what is said of those that cannot be used, with devices that do not exist.</summary>
public sealed class DeviceChoiceTests
{
    private const string Reason = "it has no generic address space, and this version of ILGPU cannot be told to do without";

    private static readonly ComputeDevice Processor = new(DeviceKind.Cpu, 0, "processor", 1, 1);

    /// <summary>CUDA devices, the hardware of OpenCL's devices, and the short form of the one that is used, with the reason.</summary>
    public static TheoryData<int, string[], string, string> Machines => new()
    {
        { 0, [], "cpu", "no CUDA, no GPU" },
        { 0, ["Processor"], "cpu", "no CUDA, no GPU" },
        { 0, ["Other", "Processor"], "cpu", "no CUDA, no GPU" },
        { 0, ["Processor", "Gpu"], "opencl:1", "an OpenCL GPU, and no CUDA" },
        { 0, ["IntegratedGpu", "Processor", "Gpu", "Gpu"], "opencl:2", "an OpenCL GPU, and no CUDA" },
        { 0, ["Processor", "IntegratedGpu"], "opencl:1", "an OpenCL GPU, and no CUDA" },
        { 2, ["Gpu"], "cuda:0", "a CUDA device comes first" },
    };

    [Theory]
    [MemberData(nameof(Machines))]
    public void A_GPU_comes_before_the_processor_and_OpenCL_for_processors_is_never_chosen(int cuda, string[] openCl, string id, string reason)
    {
        var asked = false;
        var choice = DefaultDevice.Choose(
            Processor,
            () => new([.. Enumerable.Range(0, cuda).Select(i => Device(DeviceKind.Cuda, i, Hardware.Gpu))], "no CUDA"),
            () =>
            {
                asked = true;
                return new([.. openCl.Select((h, i) => Device(DeviceKind.OpenCl, i, Enum.Parse<Hardware>(h)))], "no GPU");
            });
        Assert.Equal((id, reason), (choice.Device.Id, choice.Reason));
        Assert.Equal(cuda == 0, asked);
    }

    /// <summary>What a device's driver says, and the reason why the device is left out.</summary>
    public static TheoryData<bool, bool, int, int, bool, bool, string?> Drivers => new()
    {
        { true, true, 64, 30, true, true, null },
        { true, true, 64, 12, false, true, null },
        { true, true, 64, 20, true, false, null },
        { true, true, 64, 30, false, false, Reason },
        { false, true, 64, 30, true, true, "its driver says that it is not available" },
        { true, false, 64, 30, true, true, "its driver has no compiler" },
        { true, true, 32, 30, true, true, "it has addresses of 32 bits, and 64 are needed" },
        { true, true, 64, 11, true, true, "it compiles CL1.1, and OpenCL C 1.2 is needed" },
    };

    [Theory]
    [MemberData(nameof(Drivers))]
    public void A_device_is_left_out_for_one_reason(
        bool isAvailable, bool hasCompiler, int bits, int language, bool generic, bool canGrant, string? reason) =>
        Assert.Equal(reason, OpenClDevices.Refusal(
            new OpenClTraits(isAvailable, hasCompiler, bits, new CLCVersion(language / 10, language % 10), generic, canGrant)));

    /// <summary>If ILGPU's internals are others, its own list of devices stays.</summary>
    [Fact]
    public void A_flag_that_cannot_be_set_is_not_taken()
    {
        Assert.NotNull(IlgpuPatches.FindFlag(typeof(CLCapabilityContext)));
        Assert.Null(IlgpuPatches.FindFlag(typeof(ReadOnlyFlag)));
        Assert.Null(IlgpuPatches.FindFlag(typeof(NumberFlag)));
        Assert.Null(IlgpuPatches.FindFlag(typeof(string)));
    }

    [Fact]
    public void What_is_missing_is_one_line_that_says_what_to_install()
    {
        string[] lines =
        [
            OpenClDevices.Explain(false, [], "/vendors", 0, []),
            OpenClDevices.Explain(true, [], "/vendors", 0, []),
            OpenClDevices.Explain(true, ["libx.so", "liby.so"], "/vendors", 0, []),
            OpenClDevices.Explain(true, ["libx.so"], "/vendors", 1, []),
            OpenClDevices.Explain(true, ["libpocl.so.2"], "/vendors", 1, []),
            OpenClDevices.Explain(true, null, "/vendors", 1, ["a device: its reason"]),
        ];
        var isLinux = OperatingSystem.IsLinux();
        string[] install = isLinux ? ["install", "intel-opencl-icd", "mesa-opencl-icd", "pocl-opencl-icd"] : ["brings"];
        string[][] parts =
        [
            [GpuProbe.OpenClName, .. isLinux ? ["ocl-icd-libopencl1"] : Array.Empty<string>(), .. install],
            ["no driver in /vendors", .. install],
            ["libx.so, liby.so", "do not load", .. install],
            ["libx.so", "find no device", isLinux ? "render" : "brings"],
            ["libpocl.so.2", "find no device", "POCL_CACHE_DIR"],
            ["a device: its reason"],
        ];
        foreach (var (line, expected) in lines.Zip(parts))
        {
            Assert.DoesNotContain('\n', line);
            Assert.All(expected, part => Assert.Contains(part, line, StringComparison.Ordinal));
            Assert.True(isLinux || !line.Contains("Debian", StringComparison.Ordinal), $"speaks of another system: {line}");
        }
    }

    [Fact]
    public void The_machine_is_asked_for_its_memory_and_an_x86_processor_for_its_name()
    {
        var all = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        Assert.InRange(SystemMemory.Available, 1 << 20, all - 1);
        Assert.Equal(X86Base.IsSupported, ProcessorName.OfX86() is not null);
        Assert.SkipUnless(X86Base.IsSupported, "the rest is of x86 processors");
        Assert.Equal(DeviceList.Processor.Name, ProcessorName.OfX86());
    }

    /// <summary>Version 2 and 1 of Linux's control groups; one above may have the least limit, and within a container the path may be another one's.</summary>
    [Theory]
    [InlineData("0::/", null)]
    [InlineData("0::/a.slice/b.scope\n", 700L)]
    [InlineData("0::/a.slice/c.scope", 900L)]
    [InlineData("9:name=systemd:/a\n4:cpu,memory:/d/e\n0::/", 500L)]
    [InlineData("4:memory:/not/here", 800L)]
    [InlineData("4:memory", null)]
    [InlineData("", null)]
    public void A_containers_limit_is_the_least_of_its_groups(string groups, long? limit)
    {
        using var folder = new TemporaryFolder();
        foreach (var (file, text) in new[]
        {
            ("a.slice/memory.max", "900\n"), ("a.slice/b.scope/memory.max", "700\n"), ("a.slice/c.scope/memory.max", "max\n"),
            ("memory/memory.limit_in_bytes", "800\n"), ("memory/d/memory.limit_in_bytes", "500\n"), ("memory/d/e/memory.limit_in_bytes", "9223372036854771712\n"),
        })
        {
            Directory.CreateDirectory(Path.GetDirectoryName(folder[file])!);
            File.WriteAllText(folder[file], text);
        }

        File.WriteAllText(folder["groups"], groups);
        Assert.Equal(limit, SystemMemory.ContainersLimit(folder["groups"], folder.Path));
        Assert.Null(SystemMemory.ContainersLimit(folder["none"], folder.Path));
    }

    [Fact]
    public void Drivers_are_read_as_the_loaders_do()
    {
        using var folder = new TemporaryFolder();
        File.WriteAllText(folder["b.icd"], "/opt/libb.so\n");
        File.WriteAllText(folder["a.icd"], " liba.so \nmore");
        File.WriteAllText(folder["c.txt"], "libc.so");
        Assert.Equal(["liba.so", "/opt/libb.so"], OpenClDrivers.Registered(folder.Path, null));
        Assert.Equal(["liba.so", "/opt/libb.so", "libd.so", "libe.so"], OpenClDrivers.Registered(folder.Path, "libd.so:libe.so"));
        Assert.Equal(["/opt/libb.so"], OpenClDrivers.Registered(folder["b.icd"], null));
        Assert.Equal(["libpocl.so.2"], OpenClDrivers.Registered("libpocl.so.2", null));
        Assert.Empty(OpenClDrivers.Registered(folder["missing"], null));
        Assert.Equal(
            [true, true, true, false, false],
            new[] { "libpocl.so.2.10.0", "/usr/lib/x86_64-linux-gnu/libpocl.so.2", "/opt/intel/libintelocl.so", "libnvidia-opencl.so.1", "libigdrcl.so" }
                .Select(OpenClDrivers.IsForProcessors));
    }

    [Theory]
    [InlineData("", null)]
    [InlineData("\n  \n", null)]
    [InlineData("a warning\n  a.cl:1: error: bad thing \nmore", "a.cl:1: error: bad thing")]
    [InlineData("\n it failed\nwholly", "it failed")]
    public void Of_a_compilers_messages_the_first_error_is_shown(string messages, string? expected) =>
        Assert.Equal(expected, KernelLoading.FirstLine(messages));

    private static ComputeDevice Device(DeviceKind kind, int index, Hardware hardware) => new(kind, index, "gpu", 1, 1) { Hardware = hardware };

    private sealed class ReadOnlyFlag
    {
        public bool GenericAddressSpace { get; }
    }

    private sealed class NumberFlag
    {
        public int GenericAddressSpace { get; set; }
    }

    /// <summary>Of what Intel's driver counts, each runs one group of a contraction; of what others count for the same GPU, several.</summary>
    [Theory]
    [InlineData("Intel(R) OpenCL Graphics", 512, 128)]
    [InlineData("Intel(R) OpenCL HD Graphics", 3, 1)]
    [InlineData("rusticl", 32, 32)]
    [InlineData("AMD Accelerated Parallel Processing", 40, 40)]
    public void Tiles_are_shared_out_to_units_of_one_kind(string platform, int units, int multiprocessors) =>
        Assert.Equal(multiprocessors, OpenClDevices.Multiprocessors(platform, units));
}
