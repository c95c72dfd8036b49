using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Kernels.Attention;
using StableDiffusion.Ilgpu.Kernels.Gemm;
using StableDiffusion.Ilgpu.Kernels.Leaves;
using StableDiffusion.Ilgpu.Kernels.Leaves.OpenCl;

namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>
/// Whether a device's matrix units or tensor cores give what they should. Which lane has which values is the vendors' to say, for every kind of unit and every driver, and
/// what a driver compiles is the driver's: nobody has to believe it who can multiply two matrices, or attend to a few keys, and look.
/// </summary>
internal static class MatrixCheck
{
    private const int Rows = 70;

    /// <summary>So many that the last 16 are not all there.</summary>
    private const int Channels = 72;

    private const int Columns = Tile.Columns;

    /// <summary>The size of Stable Diffusion 1.x's first heads.</summary>
    private const int HeadSize = 40;

    /// <summary>More than the largest group takes; the last group has few.</summary>
    private const int Queries = 130;

    /// <summary>Several tiles of any kernel, the last of them not whole.</summary>
    private const int Keys = 300;

    /// <summary>Chooses a contraction's tile.</summary>
    public delegate void Cut(ref GemmArguments<ushort> contraction);

    /// <param name="device">The device.</param>
    /// <param name="kernels">Its kernels.</param>
    /// <param name="cuts">The contractions that are tried; so is an attention.</param>
    /// <returns>False where a result is wrong, and where the driver rejects a kernel or its launch.</returns>
    /// <exception cref="StableDiffusionException">The device has not even the memory for this.</exception>
    public static bool Passes(DeviceSession device, KernelSet<ushort> kernels, params IEnumerable<Cut> cuts)
    {
        try
        {
            GemmArguments<ushort>[] products = [.. cuts.Select(Product)];
            var attention = Attention(device.Multiprocessors);

            // Compiled side by side, and found again where they run.
            Action[] compile = [.. products.Select<GemmArguments<ushort>, Action>(product => () => kernels.GemmFor(product)), () => kernels.AttentionFor(attention)];
            Dedicated.For(compile.Length, compile.Length, i => compile[i]());
            return products.All(product => Multiplies(device, kernels, product)) && Attends(device, kernels, attention);
        }
        catch (StableDiffusionException e) when (!e.IsOutOfMemory)
        {
            return false;
        }
        catch (AcceleratorException)
        {
            return false;
        }
    }

    private static GemmArguments<ushort> Product(Cut cut)
    {
        var product = new GemmArguments<ushort>
        {
            Target = Rows * Channels,
            SourcePitch = Channels,
            TargetPitch = Columns,
            OutputWidth = Rows,
            OutputPixels = Rows,
            Rows = Rows,
            SourceHeight = 1,
            SourceWidth = Rows,
            Height = 1,
            Width = Rows,
            Channels = Channels,
            Kernel = 1,
            Stride = 1,
            Depth = Channels,
            Columns = Columns,
            Panels = 1,
        };
        cut(ref product);
        return product;
    }

    private static bool Multiplies(DeviceSession device, KernelSet<ushort> kernels, GemmArguments<ushort> arguments)
    {
        // Small whole numbers: every sum is exact, in fp16 too.
        var random = new Random(1);
        int[] source = [.. Enumerable.Range(0, Rows * Channels).Select(_ => random.Next(-4, 5))];
        int[] weights = [.. Enumerable.Range(0, Channels * Columns).Select(_ => random.Next(-4, 5))];
        using var arena = device.Upload<ushort>([.. source.Select(Bits), .. new ushort[Rows * Columns]]);
        using var panel = device.Upload<ushort>([.. weights.Select(Bits)]);
        using var bias = device.Upload<float>(new float[Columns]);
        using var scratch = device.Allocate<float>(1);
        using var counter = device.Upload<int>([0]);
        var results = new ushort[Rows * Columns];
        kernels.GemmFor(arguments)(device.Stream, arguments with { Arena = arena.View, Weights = panel.View, Bias = bias.View }, scratch.View, counter.View);
        arena.View.SubView(arguments.Target, results.Length).CopyToCPU(device.Stream, results);
        device.Stream.Synchronize();
        return results.Select((bits, i) => (double)BitConverter.UInt16BitsToHalf(bits) == Sum(i / Columns, i % Columns)).All(right => right);

        int Sum(int row, int column) => Enumerable.Range(0, Channels).Sum(k => source[(row * Channels) + k] * weights[(k * Columns) + column]);
    }

    /// <summary>
    /// An attention of so many heads that a large device takes the kernel that it takes for large pictures. Row i of a head is row i - 1 of the next one, so that all of
    /// them together are few numbers.
    /// </summary>
    private static AttentionArguments<ushort> Attention(int multiprocessors)
    {
        var heads = (multiprocessors / 2) + 1;
        return new()
        {
            Key = (Queries + heads) * HeadSize,
            Value = (Queries + Keys + (2 * heads)) * HeadSize,
            Target = (Queries + (2 * Keys) + (3 * heads)) * HeadSize,
            QueryPitch = HeadSize,
            KeyPitch = HeadSize,
            ValuePitch = HeadSize,
            TargetPitch = heads * HeadSize,
            Items = 1,
            Heads = heads,
            HeadSize = HeadSize,
            Queries = Queries,
            Keys = Keys,
            Scale = 1,
        };
    }

    /// <summary>
    /// Logits are whole numbers and the softmax is to base 2, so that weights and sums are exact, and what is left is the quotient, in fp16, and how near to a power
    /// of two exponentials of whole numbers come. The first and the last head are looked at.
    /// </summary>
    private static bool Attends(DeviceSession device, KernelSet<ushort> kernels, AttentionArguments<ushort> arguments)
    {
        // Few channels of a query count, so that many keys do.
        var random = new Random(2);
        var numbers = new int[arguments.Target];
        for (var i = 0; i < numbers.Length; i++)
        {
            numbers[i] = i >= arguments.Value ? random.Next(-4, 5) : i >= arguments.Key || random.Next(4) == 0 ? random.Next(-1, 2) : 0;
        }

        using var arena = device.Upload<ushort>([.. numbers.Select(Bits), .. new ushort[Queries * arguments.TargetPitch]]);
        using var scratch = device.Allocate<float>(1);
        using var counter = device.Upload<int>([0]);
        var results = new ushort[Queries * arguments.TargetPitch];
        kernels.AttentionFor(arguments)(device.Stream, arguments with { Arena = arena.View }, scratch.View, counter.View);
        arena.View.SubView(arguments.Target, results.Length).CopyToCPU(device.Stream, results);
        device.Stream.Synchronize();
        return IsRight(0) && IsRight(arguments.Heads - 1);

        bool IsRight(int head)
        {
            var channels = head * HeadSize;
            for (var row = 0; row < Queries; row++)
            {
                var (total, sums) = (0.0, new double[HeadSize]);
                for (var key = 0; key < Keys; key++)
                {
                    var logit = 0;
                    for (var i = channels; i < channels + HeadSize; i++)
                    {
                        logit += numbers[(row * HeadSize) + i] * numbers[arguments.Key + (key * HeadSize) + i];
                    }

                    var weight = Math.Pow(2, logit);
                    total += weight;
                    for (var i = 0; i < HeadSize; i++)
                    {
                        sums[i] += weight * numbers[arguments.Value + (key * HeadSize) + channels + i];
                    }
                }

                for (var i = 0; i < HeadSize; i++)
                {
                    if (!IsNear((double)BitConverter.UInt16BitsToHalf(results[(row * arguments.TargetPitch) + channels + i]), sums[i] / total))
                    {
                        return false;
                    }
                }
            }

            return true;
        }
    }

    /// <summary>Within two roundings of fp16, and what a device that takes small numbers for zeros may lose.</summary>
    private static bool IsNear(double result, double expected) => Math.Abs(result - expected) <= (Math.Abs(expected) / 1024) + (1.0 / 8192);

    private static ushort Bits(int value) => BitConverter.HalfToUInt16Bits((System.Half)value);
}
