using System.Reflection;
using System.Text.RegularExpressions;
using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Backends.OpenCL;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using ILGPU.Runtime;
using ILGPU.Runtime.OpenCL;
using StableDiffusion.Ilgpu.Benchmarks.OpenCl;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Norms;
using Xunit;
using Group = ILGPU.Group;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>OpenCL devices without any kernel of the library: memory, a kernel, and what a user reads when something is missing.</summary>
[Collection(SharedDevice.Name)]
public sealed class OpenClDeviceTests
{
    public static TheoryData<string> Devices => [.. OpenClDevice.Names];

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_device_is_found_by_kind_and_index_and_by_name(string name)
    {
        var device = OpenClDevice.Open(name);
        var found = ComputeDevice.Find(name);
        Assert.Equal((name, DeviceKind.OpenCl), (found.Id, found.Kind));
        Assert.Same(found, ComputeDevice.Find(name.ToUpperInvariant()));
        Assert.Equal(found.Name, ComputeDevice.Find(found.Name).Name);
        Assert.Equal((found.Name, found.ComputeUnits), (device.Accelerator.Name.Trim(), device.Groups));
        Assert.Equal(found.Hardware == Hardware.Processor, device.IsProcessor);
        Assert.False(device.IsHost);
        Assert.InRange(device.FreeBytesAfter(0), 1, device.IsProcessor ? SystemMemory.Available : found.MemoryBytes);
        Assert.InRange(device.LargestBuffer, 1, found.MemoryBytes);
        TestContext.Current.TestOutputHelper?.WriteLine(
            $"{found}: {string.Join("; ", found.Details.Select(d => $"{d.Name} {d.Value}"))}");
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void What_is_uploaded_comes_back_and_is_given_back(string name)
    {
        var device = OpenClDevice.Open(name);
        var alive = device.LiveBuffers;
        var values = TestValues(1000);
        using (var buffer = device.Upload<float>(values))
        using (var empty = device.Allocate<ushort>(0))
        {
            Assert.Equal(alive + 2, device.LiveBuffers);
            Assert.Equal((1000, 1), (buffer.Length, empty.Length));
            Assert.Equal(values, Download(device, buffer.View));

            // A view that does not begin at the buffer's start.
            Assert.Equal(values[37..936], Download(device, buffer.View.SubView(37, 899)));
        }

        Assert.Equal(alive, device.LiveBuffers);
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_kernel_runs_on_sub_views_and_touches_nothing_else(string name)
    {
        var device = OpenClDevice.Open(name);
        var values = TestValues(300);
        using var buffer = device.Upload<float>(values);
        var kernel = KernelLoading.Load<Action<AcceleratorStream, KernelConfig, ArrayView<float>, float>>(device.Accelerator, "scale", Scale);
        Assert.Same(device.Accelerator, kernel.GetKernel().Accelerator);
        kernel(device.Stream, new KernelConfig(9, 16), buffer.View.SubView(11, 131), 3);
        device.Stream.Synchronize();
        Assert.Equal([.. values.Select((v, i) => i is >= 11 and < 142 ? 3 * v : v)], Download(device, buffer.View));
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void Too_little_memory_is_one_line(string name)
    {
        var device = OpenClDevice.Open(name);
        var alive = device.LiveBuffers;
        var tooLarge = Assert.Throws<StableDiffusionException>(() => device.Allocate<byte>(device.LargestBuffer + 1));
        Assert.Matches(@"^.+: a buffer of \d+ MiB is needed, and its driver allows \d+ MiB \(CL_DEVICE_MAX_MEM_ALLOC_SIZE\)$", tooLarge.Message);

        // Memory that nobody writes to is only promised.
        List<DeviceBuffer<byte>> buffers = [];
        var tooMany = Assert.Throws<StableDiffusionException>(() =>
        {
            for (var left = device.Accelerator.MemorySize + 1; left > 0; left -= device.LargestBuffer)
            {
                buffers.Add(device.Allocate<byte>(Math.Min(left, device.LargestBuffer)));
            }
        });
        buffers.ForEach(b => b.Dispose());
        Assert.Matches(@"^.+: out of memory: \d+ MiB more were needed beside the \d+ MiB in use, of \d+ MiB$", tooMany.Message);
        Assert.Equal((false, true), (tooLarge.IsOutOfMemory, tooMany.IsOutOfMemory));
        Assert.Equal(alive, device.LiveBuffers);
        TestContext.Current.TestOutputHelper?.WriteLine($"{tooLarge.Message}; {tooMany.Message}");
    }

    /// <summary>Where a request has asked for more than there is, the next one is none the worse for it.</summary>
    [Theory]
    [MemberData(nameof(Devices))]
    public void A_pipeline_goes_on_after_a_request_that_was_too_large(string name)
    {
        // What the larger picture's activations take.
        const long Needed = 9L << 30;
        Assert.SkipWhen(OpenClDevice.Open(name).LargestBuffer > Needed, $"{name} may have the memory for any size that can be asked for");
        var cancellation = TestContext.Current.CancellationToken;
        using var pipeline = StableDiffusionPipeline.Load(model: null, ComputeDevice.Find(name), cancellation);
        var request = new GenerationRequest { Prompt = "a red apple", Steps = 1 };
        byte[] Draw() => pipeline.Generate(request, cancellationToken: cancellation)[0].Pixels.ToArray();
        var before = Draw();
        var e = Assert.Throws<StableDiffusionException>(
            () => pipeline.Generate(request with { Width = 1 << 14, Height = 1 << 14 }, cancellationToken: cancellation));
        TestContext.Current.TestOutputHelper?.WriteLine(e.Message);
        Assert.Equal(before, Draw());
    }

    /// <summary>The oldest language that is accepted: what a driver of OpenCL C 1.2 would be given.</summary>
    [Theory]
    [MemberData(nameof(Devices))]
    public void Every_kernel_for_GPUs_compiles_as_OpenCL_C_1_2(string name)
    {
        var accelerator = (CLAccelerator)OpenClDevice.Open(name).Accelerator;
        using var code = new ClCode(CLDeviceVendor.AMD, CLCVersion.CL12);
        foreach (var kernel in code.Kernels)
        {
            var entry = Regex.Match(kernel.Text, @"^kernel void (\w+)", RegexOptions.Multiline).Groups[1].Value;
            var status = CLKernel.LoadKernel(accelerator, entry, kernel.Text, CLCVersion.CL12, out var program, out var compiled, out var log);
            Assert.True(status == CLError.CL_SUCCESS, $"{kernel.Name}: {status} {log}");
            CLAPI.CurrentAPI.ReleaseKernel(compiled);
            CLAPI.CurrentAPI.ReleaseProgram(program);
        }

        Assert.True(code.Kernels.Count >= 20, $"only {code.Kernels.Count} kernels");
    }

    [Theory]
    [MemberData(nameof(Devices))]
    public void A_kernel_that_the_driver_rejects_is_one_line_with_what_it_says(string name)
    {
        _ = OpenClDevice.Open(name);

        // A context of its own: ILGPU's may not be used after a failure.
        using var device = DeviceSession.Open(ComputeDevice.Find(name), builder => builder.GetIntrinsicManager().RegisterMethod(
            typeof(BrokenIntrinsic).GetMethod(nameof(BrokenIntrinsic.Run))!,
            new CLIntrinsic(typeof(BrokenIntrinsic), nameof(BrokenIntrinsic.Generate), IntrinsicImplementationMode.GenerateCode)));
        var e = Assert.Throws<StableDiffusionException>(() => KernelLoading.Load<Action<AcceleratorStream, KernelConfig, ArrayView<float>>>(
            device.Accelerator, "broken", RunBroken));
        TestContext.Current.TestOutputHelper?.WriteLine(e.Message);
        Assert.StartsWith($"{device.Accelerator.Name}: the kernel broken does not compile: ", e.Message, StringComparison.Ordinal);
        Assert.Contains("no_such_function", e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }

    /// <summary>Drivers keep compiled programs by their text: it must not depend on what a process compiled before.</summary>
    [Theory]
    [MemberData(nameof(Devices))]
    public void A_kernels_text_is_the_same_whatever_was_compiled_before(string name)
    {
        _ = OpenClDevice.Open(name);
        MethodInfo[] kernels =
        [
            ((Action<GroupNormArguments<float>, ArrayView<float>, ArrayView<int>>)GroupNormKernels<float, PortableLeaf<float, FloatFormat>>.Normalize).Method,
            ((Action<GemmArguments<float>, ArrayView<float>, ArrayView<int>>)GemmKernel<float, PortableLeaf<float, FloatFormat>>.Run).Method,
        ];
        var (first, second) = (Compile(kernels), Compile([.. kernels.Reverse()]).Reverse().ToArray());
        TestContext.Current.TestOutputHelper?.WriteLine($"as ILGPU writes them, the same: {first.SequenceEqual(second)}");
        Assert.Equal(first.Select(SourceNames.Canonical), second.Select(SourceNames.Canonical));

        string[] Compile(MethodInfo[] inOrder)
        {
            using var device = DeviceSession.Open(ComputeDevice.Find(name));
            return
            [
                .. inOrder.Select(k => ((CLCompiledKernel)device.Accelerator.GetBackend().Compile(
                    EntryPointDescription.FromExplicitlyGroupedKernel(k), default)).Source),
            ];
        }
    }

    [Fact]
    public void Names_of_OpenCL_are_numbered_by_appearance() => Assert.Equal(
        "struct _type_1 { int field_1; }; struct _type_1_kernel; void Run_1(_type_2 *_a_1) { L_1: v12 = vload_half8(0x1f_7, 3); Run_1(_type_1 _type_3) }",
        SourceNames.Canonical(
            "struct _type_815 { int field_0; }; struct _type_815_kernel; void Run_4711(_type_9 *_a_33) { L_2210: v12 = vload_half8(0x1f_7, 3); Run_4711(_type_815 _type_1) }"));

    [Fact]
    public void Without_the_text_of_a_kernel_nothing_is_renamed()
    {
        Assert.NotNull(OpenClSource.FindSource(typeof(CLCompiledKernel)));
        Assert.Null(OpenClSource.FindSource(typeof(string)));
    }

    private static void RunBroken(ArrayView<float> values) => BrokenIntrinsic.Run(ref values[0]);

    private static void Scale(ArrayView<float> values, float factor)
    {
        var i = (Grid.IdxX * Group.DimX) + Group.IdxX;
        if (i < values.IntLength)
        {
            values[i] *= factor;
        }
    }

    private static float[] TestValues(int count) => [.. Enumerable.Range(0, count).Select(i => (i * 0.25f) - 7)];

    private static float[] Download(DeviceSession device, ArrayView<float> view)
    {
        var values = new float[view.Length];
        view.CopyToCPU(device.Stream, values);
        device.Stream.Synchronize();
        return values;
    }

    /// <summary>An operation whose OpenCL C is wrong.</summary>
    private static class BrokenIntrinsic
    {
        [IntrinsicImplementation]
        public static void Run(ref float value) => throw new NotSupportedException();

        public static void Generate(CLBackend backend, CLCodeGenerator generator, Value value) =>
            generator.Builder.AppendLine("\tno_such_function(no_such_value);");
    }
}
