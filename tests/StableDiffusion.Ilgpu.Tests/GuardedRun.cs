using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Runtime;
using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Kernels;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests;

/// <summary>
/// Runs a graph launch by launch on memory of its own and watches what each launch does:
/// <list type="bullet">
/// <item>Arena, scratch, moments and counters lie between guards, at offsets that are not zero.</item>
/// <item>Everything starts out as a bit pattern that no kernel stores, a NaN in fp32; so does scratch before each launch, and a launch's
/// target before it runs: afterwards every element of it must have been written.</item>
/// <item>Nothing but the target may change: not the guards, not other values, not the columns beside it in a concatenation.</item>
/// </list>
/// </summary>
internal sealed class GuardedRun<T> : IDisposable where T : unmanaged
{
    private const int Guard = 256;
    private const int FloatPoison = 0x7FC5A5A5;
    private const ushort HalfPoison = 0x7E5A;

    private readonly DeviceSession device;
    private readonly Placement placement;
    private readonly ArenaPlan plan;
    private readonly WeightStore<T> weights;
    private readonly Launch<T>[] launches;
    private readonly Guarded<T> arena;
    private readonly Guarded<float> scratch;
    private readonly Guarded<float> moments;
    private readonly Guarded<int> counter;

    public GuardedRun(Graph graph, FusionOptions fusion, DeviceSession device, KernelSet<T> kernels, IWeightSource source)
    {
        this.device = device;
        FusionRules.Apply(graph, fusion);
        weights = new WeightStore<T>(device, source);
        weights.Prepare(graph.Values.Select(v => v.Op), threads: 1);
        placement = Placement.Create(graph, fusion);
        plan = ArenaPlan.Create(placement, Unsafe.SizeOf<T>());
        var builder = new LaunchBuilder<T>(fusion, kernels, weights, placement, plan);
        launches = [.. Enum.GetValues<Rate>().SelectMany(placement.Launches).SelectMany(builder.Build)];
        arena = new Guarded<T>(device, plan.Bytes / Unsafe.SizeOf<T>(), Poison);
        scratch = new Guarded<float>(device, Math.Max(1, builder.Needs.ScratchValues), float.NaN);
        moments = new Guarded<float>(device, Math.Max(1, builder.Needs.MomentValues), float.NaN);
        counter = new Guarded<int>(device, 1, int.MinValue);
    }

    public IReadOnlyList<Launch<T>> Launches => launches;

    private static T Poison => typeof(T) == typeof(float) ? (T)(object)BitConverter.Int32BitsToSingle(FloatPoison) : (T)(object)HalfPoison;

    /// <param name="input">Values of an input, channels last.</param>
    /// <returns>The outputs by key, channels last.</returns>
    public Dictionary<string, float[]> Run(Func<Value, float[]> input)
    {
        foreach (var value in placement.Graph.Inputs)
        {
            Write(value, input(value));
        }

        Value? last = null;
        foreach (var launch in launches)
        {
            Run(launch, first: launch.Value != last);
            last = launch.Value;
        }

        foreach (var value in placement.Graph.Outputs.Values)
        {
            ForEachRow(value, row => AssertWritten(value, row));
        }

        return placement.Graph.Outputs.ToDictionary(o => o.Key, o => Read(o.Value));
    }

    public void Dispose()
    {
        arena.Dispose();
        scratch.Dispose();
        moments.Dispose();
        counter.Dispose();
        weights.Dispose();
    }

    private void Run(Launch<T> launch, bool first)
    {
        if (first)
        {
            if (!placement.IsInPlace(launch.Value))
            {
                ForEachTarget(launch.Value, row => arena.Expected.Slice(row.Start, row.Count).Fill(Poison));
            }

            moments.Fill();
        }

        scratch.Fill();
        counter.Expected[0] = 0;
        arena.Upload();
        counter.Upload();
        launch.Run(new LaunchContext<T>
        {
            Stream = device.Stream,
            Arena = arena.View,
            Scratch = scratch.View,
            Moments = moments.View,
            Counter = counter.View,
        });
        device.Stream.Synchronize();

        var after = arena.Download();
        ForEachTarget(launch.Value, row => after.AsSpan(Guard + row.Start, row.Count).CopyTo(arena.Expected[row.Start..]));
        arena.AssertEqual(after, $"{launch.Value} ({launch.Kernel}) wrote outside its target");
        scratch.AssertGuards($"{launch.Value} ({launch.Kernel}): scratch");
        moments.AssertGuards($"{launch.Value} ({launch.Kernel}): moments");
        counter.AssertGuards($"{launch.Value} ({launch.Kernel}): counter");
        if (launch.Value != launches.SkipWhile(l => l != launch).Skip(1).FirstOrDefault()?.Value)
        {
            ForEachTarget(launch.Value, row => AssertWritten(launch.Value, row));
        }
    }

    private void AssertWritten(Value value, (int Index, int Start, int Count) row)
    {
        var elements = arena.Expected.Slice(row.Start, row.Count);
        var column = typeof(T) == typeof(float)
            ? MemoryMarshal.Cast<T, int>(elements).IndexOf(FloatPoison)
            : MemoryMarshal.Cast<T, ushort>(elements).IndexOf(HalfPoison);
        Assert.True(column < 0, $"{value}: column {column} of row {row.Index} was not written");
    }

    private void Write(Value input, float[] values)
    {
        var start = (int)(plan.OffsetOf(placement[input].Root) / Unsafe.SizeOf<T>());
        var target = arena.Expected[start..];
        if (input.Type == ElementType.Activation)
        {
            Stored.Narrow(values, target[..values.Length]);
        }
        else if (input.Type == ElementType.Float32)
        {
            values.CopyTo(MemoryMarshal.Cast<T, float>(target));
        }
        else
        {
            values.Select(v => (int)v).ToArray().CopyTo(MemoryMarshal.Cast<T, int>(target));
        }
    }

    private float[] Read(Value value)
    {
        var values = new float[value.Shape.Count];
        ForEachRow(value, row => Stored.Widen<T>(arena.Expected.Slice(row.Start, row.Count), values.AsSpan(row.Index * value.C)));
        return values;
    }

    private void ForEachRow(Value value, Action<(int Index, int Start, int Count)> action) =>
        ForEachRow(placement[value], value.Shape, action);

    /// <summary>What the launches of a value write: of a concatenation, the operands that have no place in it of their own.</summary>
    private void ForEachTarget(Value value, Action<(int Index, int Start, int Count)> action)
    {
        if (value.Op is not Concat)
        {
            ForEachRow(value, action);
        }

        foreach (var (operand, target) in placement.Copies(value))
        {
            ForEachRow(target, operand.Shape, action);
        }
    }

    private void ForEachRow(ValuePlace place, Shape shape, Action<(int Index, int Start, int Count)> action)
    {
        var start = (plan.OffsetOf(place.Root) / Unsafe.SizeOf<T>()) + place.ElementOffset;
        for (var row = 0; row < shape.Rows; row++)
        {
            action((row, (int)(start + ((long)row * place.RowPitch)), shape.C));
        }
    }

    /// <summary>Device memory between two guards, and what the host expects it to hold.</summary>
    private sealed class Guarded<TElement> : IDisposable where TElement : unmanaged
    {
        private readonly DeviceSession device;
        private readonly DeviceBuffer<TElement> buffer;
        private readonly TElement[] expected;
        private readonly TElement poison;

        public Guarded(DeviceSession device, long count, TElement poison)
        {
            (this.device, this.poison) = (device, poison);
            buffer = device.Allocate<TElement>(count + (2 * Guard));
            expected = new TElement[count + (2 * Guard)];
            Fill();
        }

        public ArrayView<TElement> View => buffer.View.SubView(Guard, expected.Length - (2 * Guard));

        public Span<TElement> Expected => expected.AsSpan(Guard, expected.Length - (2 * Guard));

        public void Fill()
        {
            expected.AsSpan().Fill(poison);
            Upload();
        }

        public void Upload()
        {
            buffer.View.CopyFromCPU(device.Stream, expected);
            device.Stream.Synchronize();
        }

        public TElement[] Download()
        {
            var values = new TElement[expected.Length];
            buffer.View.CopyToCPU(device.Stream, values);
            device.Stream.Synchronize();
            return values;
        }

        public void AssertGuards(string what)
        {
            var values = Download();
            var fresh = new TElement[Guard];
            fresh.AsSpan().Fill(poison);
            Assert.True(Same(values.AsSpan(0, Guard), fresh), $"{what}: the memory before it was written");
            Assert.True(Same(values.AsSpan(values.Length - Guard), fresh), $"{what}: the memory behind it was written");
        }

        public void AssertEqual(TElement[] actual, string what)
        {
            if (!Same(actual, expected))
            {
                var at = actual.Select((v, i) => i).First(i => !Same(actual.AsSpan(i, 1), expected.AsSpan(i, 1)));
                Assert.Fail($"{what}: element {at - Guard} of {expected.Length - (2 * Guard)}");
            }
        }

        public void Dispose() => buffer.Dispose();

        /// <summary>Bit by bit: a NaN is not equal to itself.</summary>
        private static bool Same(ReadOnlySpan<TElement> a, ReadOnlySpan<TElement> b) =>
            MemoryMarshal.AsBytes(a).SequenceEqual(MemoryMarshal.AsBytes(b));
    }
}
