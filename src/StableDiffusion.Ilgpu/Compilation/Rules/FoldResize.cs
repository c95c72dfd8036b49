using StableDiffusion.Ilgpu.Graphs;

namespace StableDiffusion.Ilgpu.Compilation.Rules;

/// <summary>
/// A 3x3 convolution that reads an enlarged picture picks the source pixels itself; the enlarged picture is never stored.
/// <code>
/// x ─ Resize(H, W) ─ Conv    ⇒    x ─ Conv(ResizeTo H, W)
/// </code>
/// Not: where anything else reads the enlarged picture too, so that it has to be stored anyway.
/// </summary>
internal static class FoldResize
{
    public static void Apply(Graph graph)
    {
        var users = graph.FindUsers();
        foreach (var value in graph.Values)
        {
            if (value.Op is not Resize resize || graph.IsOutput(value) || !users[value].All(CanFold))
            {
                continue;
            }

            foreach (var user in users[value])
            {
                user.Rewrite((Contraction)user.Op with { ResizeTo = (resize.H, resize.W) }, user.Path, value.Inputs[0]);
            }
        }
    }

    private static bool CanFold(Value user) => user.Op is Contraction { Window.Kernel: 3, ResizeTo: null, HasEpilogue: false };
}
