using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using StableDiffusion.Ilgpu.Graphs;
using StableDiffusion.Ilgpu.Models;
using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>How tiles are shared out is no part of a result: any number of groups gives the same bits.</summary>
[Collection(SharedDevice.Name)]
public sealed class GroupTests(DeviceFixture fixture)
{
    public static TheoryData<string> Backends => [.. Backend.Names];

    /// <summary>Other devices' numbers of groups cannot be chosen.</summary>
    public static TheoryData<string> ProcessorBackends => [.. Backend.All.Where(b => b.Device.Kind == DeviceKind.Cpu).Select(b => b.ToString())];

    [Theory]
    [MemberData(nameof(ProcessorBackends))]
    public void One_two_and_three_groups_give_the_same_bits(string backend)
    {
        var target = Backend.Find(backend);
        var results = new[] { 1, 2, 3 }.Select(groups => target.Half ? Run<ushort>(target, groups) : Run<float>(target, groups)).ToArray();
        Assert.NotEmpty(results[0]);
        foreach (var (name, values) in results[0])
        {
            Assert.True(values.AsSpan().SequenceEqual(results[1][name]), $"{name}: two groups differ from one");
            Assert.True(values.AsSpan().SequenceEqual(results[2][name]), $"{name}: three groups differ from one");
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{backend}: {results[0].Count} results are the same with 1, 2 and 3 groups");
    }

    /// <summary>Each launch of a whole model writes its own value and nothing else.</summary>
    [Theory]
    [MemberData(nameof(Backends))]
    public void Launches_of_a_model_keep_to_their_targets(string backend)
    {
        if (Backend.Find(backend).Half)
        {
            Watch<ushort>(Backend.Find(backend));
        }
        else
        {
            Watch<float>(Backend.Find(backend));
        }
    }

    /// <summary>The operator cases that have several tiles, on a device of so many groups.</summary>
    private static Dictionary<string, float[]> Run<T>(Backend backend, int groups) where T : unmanaged
    {
        using var device = DeviceSession.OpenCpu(groups);
        var kernels = DeviceFixture.Compile<T>(device, backend);
        var results = new Dictionary<string, float[]>();
        foreach (var op in OpCases.All.Where(c => c.Record().Values.Max(v => v.Shape.Count) > 5000))
        {
            using var run = new GuardedRun<T>(op.Record(), FusionOptions.All, device, kernels, op.OpenWeights());
            results.Add(op.Name, run.Run(op.InputValues)["out"]);
        }

        Assert.Equal(0, device.LiveBuffers);
        return results;
    }

    private void Watch<T>(Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(TinyModels.Names.First());
        var values = new OpCase("small UNet", _ => { });
        foreach (var options in new[] { FusionOptions.None, FusionOptions.All })
        {
            var graph = UNet.Record(model.UNetConfig, batch: 2, height: 4, width: 3, tokens: 7);
            using var run = new GuardedRun<T>(graph, options, fixture.DeviceOf(backend), fixture.Kernels<T>(backend),
                model.OpenWeights(ModelPart.UNet));
            Assert.All(run.Run(values.InputValues)["out"], v => Assert.True(float.IsFinite(v)));
            TestContext.Current.TestOutputHelper?.WriteLine(
                $"{backend}: {run.Launches.Count} launches wrote their targets and nothing else");
        }
    }
}
