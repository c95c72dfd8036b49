namespace StableDiffusion.Ilgpu.Text;

/// <summary>What a prompt says up to a step.</summary>
/// <param name="LastStep">The last step, counting from 1, that the text holds for.</param>
/// <param name="Text">The prompt with its editing done.</param>
internal sealed record ScheduledPrompt(int LastStep, string Text);
