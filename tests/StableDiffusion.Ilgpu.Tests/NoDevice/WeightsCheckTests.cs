using StableDiffusion.Ilgpu.Weights;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Declared against stored tensors, strict in both directions; old names of the autoencoder's attention.</summary>
public sealed class WeightsCheckTests : IDisposable
{
    private readonly WeightsTestFiles files = new();

    public void Dispose() => files.Dispose();

    [Fact]
    public void The_same_tensors_pass_and_ignored_ones_may_be_left_over()
    {
        using var source = Stored(T("conv_in.weight", 4, 2), T("conv_in.bias", 4), new(WeightCheck.PositionIds, TensorType.I64, [1, 77]));
        WeightCheck.Require(source, [T("conv_in.bias", 4), T("conv_in.weight", 4, 2)], n => n == WeightCheck.PositionIds);
    }

    [Fact]
    public void A_missing_tensor_is_named_with_the_nearest()
    {
        using var source = Stored(T("conv_in.weight", 4, 2), T("conv_in.bais", 4), T("conv_out.weight", 4), T("mid.norm.bias", 4));
        WeightsTestFiles.Refused(
            () => WeightCheck.Require(
                source, [T("conv_in.weight", 4, 2), T("conv_in.bias", 4), T("conv_out.weight", 4), T("mid.norm.bias", 4)], _ => false),
            source.Description, "tensor conv_in.bias is missing; nearest: conv_in.bais");
        WeightsTestFiles.Refused(
            () => WeightCheck.Require(source, [.. source.Tensors.Values, T("a", 1), T("b", 1), T("c", 1)], _ => false),
            "tensor a is missing (and 2 more); nearest: ");

        using var empty = Stored();
        WeightsTestFiles.Refused(() => WeightCheck.Require(empty, [T("a", 1)], _ => false), "a is missing; nearest: none, the file is empty");
    }

    [Theory]
    [InlineData(new long[] { 2, 4 })]
    [InlineData(new long[] { 4, 2, 1, 1 })]
    [InlineData(new long[] { 8 })]
    public void A_wrong_shape_names_both(long[] stored)
    {
        using var source = Stored(T("conv_in.weight", stored));
        WeightsTestFiles.Refused(
            () => WeightCheck.Require(source, [T("conv_in.weight", 4, 2)], _ => false),
            source.Description, $"conv_in.weight has shape [{string.Join(", ", stored)}]", "needs [4, 2]");
    }

    [Fact]
    public void Integers_are_not_weights()
    {
        using var source = Stored(new TensorInfo("conv_in.bias", TensorType.I32, [4]));
        WeightsTestFiles.Refused(() => WeightCheck.Require(source, [T("conv_in.bias", 4)], _ => false), "conv_in.bias has element type I32");
    }

    [Fact]
    public void Tensors_left_over_are_named()
    {
        using var source = Stored(T("a", 1), T("x.1", 1), T("x.3", 1), T("x.2", 1), T("x.4", 1), T("x.5", 1));
        WeightsTestFiles.Refused(
            () => WeightCheck.Require(source, [T("a", 1)], n => n == "x.1"), "4 tensor(s) belong to no part", "x.2, x.3, x.4 (and 1 more)");
        WeightsTestFiles.Refused(() => WeightCheck.Require(source, [T("a", 1)], n => n != "x.4"), "1 tensor(s) belong to no part of the model: x.4");
    }

    [Fact]
    public void Old_attention_names_become_current_ones()
    {
        const string Block = "decoder.mid_block.attentions.0.";
        var old = Stored(
            T(Block + "query.weight", 4, 4, 1, 1), T(Block + "query.bias", 4), T(Block + "key.weight", 4, 4), T(Block + "value.weight", 4, 4, 1, 1),
            T(Block + "proj_attn.weight", 4, 4, 1, 1), T(Block + "proj_attn.bias", 4), T(Block + "group_norm.weight", 4),
            T("decoder.conv_in.weight", 4, 4, 1, 1));
        using var source = RenamedWeights.WithCurrentAttentionNames(old);
        WeightCheck.Require(
            source,
            [
                T(Block + "to_q.weight", 4, 4), T(Block + "to_q.bias", 4), T(Block + "to_k.weight", 4, 4), T(Block + "to_v.weight", 4, 4),
                T(Block + "to_out.0.weight", 4, 4), T(Block + "to_out.0.bias", 4), T(Block + "group_norm.weight", 4),
                T("decoder.conv_in.weight", 4, 4, 1, 1),
            ],
            _ => false);
        var (renamed, original) = (new float[16], new float[16]);
        source.Read(Block + "to_out.0.weight", renamed);
        old.Read(Block + "proj_attn.weight", original);
        Assert.Equal(original, renamed);
        Assert.NotEqual(0, renamed[1]);
        var half = new ushort[4];
        source.Read(Block + "to_out.0.bias", half);
        WeightsTestFiles.Refused(() => source.Read(Block + "to_x.weight", half), old.Description, "to_x.weight is missing");
    }

    [Fact]
    public void Current_names_are_left_alone_and_both_together_are_refused()
    {
        using var current = Stored(T("decoder.mid_block.attentions.0.to_q.weight", 4, 4));
        Assert.Same(current, RenamedWeights.WithCurrentAttentionNames(current));
        using var both = Stored(T("decoder.mid_block.attentions.0.to_q.weight", 4, 4), T("decoder.mid_block.attentions.0.query.weight", 4, 4));
        WeightsTestFiles.Refused(() => RenamedWeights.WithCurrentAttentionNames(both), both.Description, "both mean");
    }

    private static TensorInfo T(string name, params long[] shape) => new(name, TensorType.F32, shape);

    private SafetensorsFile Stored(params TensorInfo[] tensors)
    {
        var path = files.PathOf($"{Guid.NewGuid():N}.safetensors");
        SafetensorsWriter.Write(path, tensors, (tensor, bytes) =>
        {
            // Different in every tensor, small enough for any float.
            for (var i = 0; i < bytes.Length; i++)
            {
                bytes[i] = (byte)((i + tensor.Name.Length) % 50);
            }
        });
        return SafetensorsFile.Open(path);
    }
}
