using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.Cuda;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>Every device converts fp16 as .NET does, bit by bit, however its kernels do it.</summary>
[Collection(SharedDevice.Name)]
public sealed class HalfConversionTests
{
    private const int WorkItems = 64;
    private const int Patterns = 1 << 16;
    private const int RandomFloats = 1 << 20;

    private static readonly float[] Floats = [.. Boundaries(), .. Random()];

    public static TheoryData<string> OpenCl => [.. OpenClDevice.Names];

    [Theory]
    [MemberData(nameof(OpenCl))]
    public void OpenCl_memory_conversions_are_exact(string name)
    {
        var device = OpenClDevice.Open(name);
        CheckWidening(Widen<GpuHalfFormat<ClHalfConversion>>(device), keepsAll: true);
        CheckNarrowing(Narrow<GpuHalfFormat<ClHalfConversion>>(device), keepsAll: true);
        CheckWidening(WidenChunks<GpuHalfFormat<ClHalfConversion>>(device), keepsAll: true);
        CheckNarrowing(NarrowChunks<GpuHalfFormat<ClHalfConversion>>(device), keepsAll: true);
    }

    [Theory]
    [MemberData(nameof(OpenCl))]
    public void Integer_arithmetic_is_exact(string name)
    {
        var device = OpenClDevice.Open(name);
        CheckWidening(Widen<HalfFormat>(device), keepsAll: false);
        CheckNarrowing(Narrow<HalfFormat>(device), keepsAll: false);
    }

    [Fact]
    public void Cuda_instructions_are_exact()
    {
        var devices = ComputeDevice.All.Where(d => d.Kind == DeviceKind.Cuda).ToArray();
        Assert.SkipWhen(devices.Length == 0, "CUDA: no device");
        foreach (var device in devices.Select(OpenDevices.Get))
        {
            CheckWidening(Widen<GpuHalfFormat<CudaHalfConversion>>(device), keepsAll: true);
            CheckNarrowing(Narrow<GpuHalfFormat<CudaHalfConversion>>(device), keepsAll: true);
            CheckWidening(WidenChunks<GpuHalfFormat<CudaHalfConversion>>(device), keepsAll: true);
            CheckNarrowing(NarrowChunks<GpuHalfFormat<CudaHalfConversion>>(device), keepsAll: true);
        }
    }

    /// <param name="actual">Of each pattern.</param>
    /// <param name="keepsAll">Whether infinities and what is no number are kept.</param>
    private static void CheckWidening(float[] actual, bool keepsAll)
    {
        for (var i = 0; i < Patterns; i++)
        {
            var expected = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            if (float.IsFinite(expected) || keepsAll)
            {
                Assert.True(
                    float.IsNaN(expected) ? float.IsNaN(actual[i]) : BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(actual[i]),
                    $"{i:x4} is {expected:R}, and was read as {actual[i]:R}");
            }
        }
    }

    /// <param name="actual">Of each of <see cref="Floats"/>.</param>
    /// <param name="keepsAll">As above; infinities always are.</param>
    private static void CheckNarrowing(ushort[] actual, bool keepsAll)
    {
        for (var i = 0; i < Floats.Length; i++)
        {
            var expected = BitConverter.HalfToUInt16Bits((System.Half)Floats[i]);
            if (!float.IsNaN(Floats[i]) || keepsAll)
            {
                Assert.True(
                    float.IsNaN(Floats[i]) ? System.Half.IsNaN(BitConverter.UInt16BitsToHalf(actual[i])) : expected == actual[i],
                    $"{Floats[i]:R} is {expected:x4}, and was written as {actual[i]:x4}");
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{Floats.Length} values narrowed, {Patterns} patterns widened");
    }

    /// <summary>Each pattern's value, the middle to the next, and their neighbours; and what fp16 does not reach.</summary>
    private static IEnumerable<float> Boundaries()
    {
        for (var i = 0; i < 0x7C00; i++)
        {
            var value = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            var next = i == 0x7BFF ? 65536 : (float)BitConverter.UInt16BitsToHalf((ushort)(i + 1));
            var middle = value + ((next - value) / 2);
            foreach (var number in new[] { value, middle, float.BitDecrement(middle), float.BitIncrement(middle) })
            {
                yield return number;
                yield return -number;
            }
        }

        foreach (var number in new[] { 65536f, 1e6f, float.MaxValue, float.PositiveInfinity, float.Epsilon, 1e-40f, float.NaN })
        {
            yield return number;
            yield return -number;
        }
    }

    /// <summary>Of any exponent, in a whole number of chunks with those above.</summary>
    private static IEnumerable<float> Random()
    {
        var random = new Random(1);
        var count = RandomFloats - (Boundaries().Count() % Float8.Length);
        return Enumerable.Range(0, count).Select(_ => BitConverter.Int32BitsToSingle(random.Next(int.MinValue, int.MaxValue)));
    }

    private static float[] Widen<TFormat>(DeviceSession device) where TFormat : struct, IFormat<ushort> =>
        Widen(device, Load<ArrayView<ushort>, ArrayView<float>>(device, WidenAll<TFormat>), Patterns);

    private static float[] WidenChunks<TFormat>(DeviceSession device) where TFormat : struct, IGpuFormat<ushort> =>
        Widen(device, Load<ArrayView<ushort>, ArrayView<float>>(device, WidenAllChunks<TFormat>), Patterns / Float8.Length);

    private static ushort[] Narrow<TFormat>(DeviceSession device) where TFormat : struct, IFormat<ushort> =>
        Narrow(device, Load<ArrayView<float>, ArrayView<ushort>>(device, NarrowAll<TFormat>), Floats.Length);

    private static ushort[] NarrowChunks<TFormat>(DeviceSession device) where TFormat : struct, IGpuFormat<ushort> =>
        Narrow(device, Load<ArrayView<float>, ArrayView<ushort>>(device, NarrowAllChunks<TFormat>), Floats.Length / Float8.Length);

    private static float[] Widen(
        DeviceSession device, Action<AcceleratorStream, KernelConfig, ArrayView<ushort>, ArrayView<float>> kernel, int workItems)
    {
        using var source = device.Upload<ushort>([.. Enumerable.Range(0, Patterns).Select(i => (ushort)i)]);
        using var target = device.Allocate<float>(Patterns);
        kernel(device.Stream, new KernelConfig(workItems / WorkItems, WorkItems), source.View, target.View);
        return Download(device, target.View);
    }

    private static ushort[] Narrow(
        DeviceSession device, Action<AcceleratorStream, KernelConfig, ArrayView<float>, ArrayView<ushort>> kernel, int workItems)
    {
        using var source = device.Upload<float>(Floats);
        using var target = device.Allocate<ushort>(Floats.Length);
        kernel(device.Stream, new KernelConfig((workItems + WorkItems - 1) / WorkItems, WorkItems), source.View, target.View);
        return Download(device, target.View);
    }

    private static Action<AcceleratorStream, KernelConfig, T1, T2> Load<T1, T2>(DeviceSession device, Action<T1, T2> kernel)
        where T1 : struct
        where T2 : struct =>
        KernelLoading.Load<Action<AcceleratorStream, KernelConfig, T1, T2>>(device.Accelerator, kernel.Method.Name, kernel);

    private static T[] Download<T>(DeviceSession device, ArrayView<T> view) where T : unmanaged
    {
        var values = new T[view.Length];
        view.CopyToCPU(device.Stream, values);
        device.Stream.Synchronize();
        return values;
    }

    private static void WidenAll<TFormat>(ArrayView<ushort> source, ArrayView<float> target) where TFormat : struct, IFormat<ushort>
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        target[i] = default(TFormat).Load(source, i);
    }

    private static void WidenAllChunks<TFormat>(ArrayView<ushort> source, ArrayView<float> target) where TFormat : struct, IGpuFormat<ushort>
    {
        var i = ((Grid.IdxX * WorkItems) + Group.IdxX) * Float8.Length;
        default(FloatFormat).StoreChunk(target, i, default(TFormat).LoadChunk(source, i));
    }

    private static void NarrowAll<TFormat>(ArrayView<float> source, ArrayView<ushort> target) where TFormat : struct, IFormat<ushort>
    {
        var i = (Grid.IdxX * WorkItems) + Group.IdxX;
        if (i < source.Length)
        {
            default(TFormat).Store(target, i, source[i]);
        }
    }

    private static void NarrowAllChunks<TFormat>(ArrayView<float> source, ArrayView<ushort> target) where TFormat : struct, IGpuFormat<ushort>
    {
        var i = ((Grid.IdxX * WorkItems) + Group.IdxX) * Float8.Length;
        if (i < source.Length)
        {
            default(TFormat).StoreChunk(target, i, default(FloatFormat).LoadChunk(source, i));
        }
    }
}
